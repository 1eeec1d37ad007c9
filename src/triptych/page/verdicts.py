"""Verdicts on the report's claims, formatted as text for the page, the terminal and Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from triptych.measures.estimate import Estimate, SeedRange
from triptych.page.tables import Measured, Table
from triptych.report.claims import NOT_MEASURED
from triptych.report.formatting import written, written_interval, written_limit
from triptych.report.reader import Results
from triptych.studies import CLAIMS

# Text for the verdict of a condition, by its verdict in claims.json.
ANSWERS = {"reproduced": "met", "not reproduced": "not met", "inconclusive": "undecided"}
FORMATS = {(claim.id, ""): claim.format for claim in CLAIMS} | {
    (claim.id, condition.id): condition.format for claim in CLAIMS for condition in claim.conditions
}
PHOTOGRAPHS = "real"  # the archived run on photographs, docs/real
# Thresholds of the first conditions that are not in params.yaml.
THRESHOLDS = {claim.id: first for claim in CLAIMS if isinstance(first := claim.conditions[0].threshold, float)}
FACTS = {(claim.id, fact.key): fact for claim in CLAIMS for fact in claim.facts}
OTHER = "#.3g"  # format of a number that has no record


@dataclass(frozen=True)
class Elsewhere:
    """The answer of another run to the same condition or claim. `text` is the number, or an empty string."""

    run: str
    answer: str
    text: str


@dataclass(frozen=True)
class Condition(Measured):
    """A comparison of a number with a threshold, formatted as text. Fields without content are empty strings."""

    threshold: str
    statement: str
    answer: str
    chance: str = ""  # the value of the number if the statement is false, with its name
    elsewhere: Sequence[Elsewhere] = ()
    key: str = ""  # the condition's id
    digits_only: bool = False  # met on rendered digits, but not on photographs


@dataclass(frozen=True)
class Verdict(Condition):
    """A claim of the report with its verdict (`answer`) and its main number (`value`), formatted as text."""

    id: str = ""
    report_says: str = ""
    kind: str = "result"
    remark: str = ""  # what would decide an undecided condition, or why a claim is not measured
    conditions: Sequence[Condition] = ()
    figures: Sequence[int] = ()
    evidence: Sequence[tuple[str, str]] = ()  # name and text
    sources: Sequence[str] = ()

    @property
    def measured(self) -> bool:
        return self.answer != NOT_MEASURED


def read_verdicts(results: Results, archives: Mapping[str, Results] | None = None) -> list[Verdict]:
    """Return the verdicts of a run. `archives` maps names to other runs, whose verdicts are shown for comparison."""
    others = {run: {claim.id: claim for claim in read_verdicts(archive)} for run, archive in (archives or {}).items()}
    return [_compared(verdict(record), others) for record in results.claims()]


def verdict(record: Mapping) -> Verdict:
    """Convert a record of metrics/claims.json to a verdict."""
    name = record["id"]
    not_measured = record["verdict"] == NOT_MEASURED
    # An older archive with another threshold compares another number, whose format is unknown.
    same = record.get("threshold") == THRESHOLDS.get(name, record.get("threshold"))
    return Verdict(
        *_numbers(record, FORMATS.get((name, ""), OTHER) if same else OTHER),
        record.get("claim") or name,
        record["verdict"],
        id=name,
        report_says=record.get("report_says") or "",
        kind=record.get("kind") or "result",
        remark=record.get("finding" if not_measured else "would_decide") or "",
        # Archives of older versions have no conditions.
        conditions=[_condition(name, entry) for entry in record.get("conditions") or []],
        figures=record.get("figures") or [],
        evidence=_evidence(name, record.get("evidence") or {}),
        sources=record.get("sources") or [],
    )


def _condition(claim: str, entry: Mapping) -> Condition:
    form, null = FORMATS.get((claim, entry["id"]), OTHER), entry.get("null")
    return Condition(
        *_numbers(entry, form),
        entry["statement"].removesuffix("."),
        ANSWERS.get(entry["verdict"], entry["verdict"]),
        # Zero needs no mention where the number is a difference.
        chance=f"{null['name']}: {written(null['value'], form)}" if null and null["value"] else "",
        key=entry["id"],
    )


def _compared(claim: Verdict, others: Mapping[str, Mapping[str, Verdict]]) -> Verdict:
    """Return the verdict, extended by the answers of other runs to the claim and to each of its conditions."""
    same = {run: claims[claim.id] for run, claims in others.items() if claim.id in claims}
    conditions = []
    for condition in claim.conditions:
        found = {run: each for run, other in same.items() for each in other.conditions if each.key == condition.key}
        elsewhere = [Elsewhere(run, each.answer, each.text) for run, each in found.items()]
        on_photographs = found[PHOTOGRAPHS].answer if PHOTOGRAPHS in found else NOT_MEASURED
        digits_only = condition.answer == "met" and on_photographs not in ("met", NOT_MEASURED)
        conditions.append(replace(condition, elsewhere=elsewhere, digits_only=digits_only))
    # Next to a claim, only runs that are not next to its conditions: archives of older versions.
    elsewhere = [
        Elsewhere(run, other.answer, other.text)
        for run, other in same.items()
        if not (claim.measured and any(run == each.run for condition in conditions for each in condition.elsewhere))
    ]
    return replace(claim, conditions=conditions, elsewhere=elsewhere)


def conditions_table(claims: Sequence[Verdict]) -> Table:
    """Return a table of the verdicts of one run, with a row per claim that is measured and a row per condition."""
    lines = []
    for claim in claims:
        if claim.measured:
            lines.append([f"**{claim.statement}**", f"**{claim.answer}**", "", ""])
            lines += [[each.statement, each.answer, each.text, each.threshold] for each in claim.conditions]
    return Table("Claims and conditions", ["claim and conditions", "verdict", "measured", "threshold"], lines)


def verdicts_table(runs: Mapping[str, Results]) -> Table:
    """Return a table of the verdicts of several runs, with one row per claim and one column per run."""
    columns = {run: {claim.id: claim for claim in map(verdict, results.claims())} for run, results in runs.items()}
    claims = {claim.id: claim for column in columns.values() for claim in column.values()}
    lines = []
    for key, claim in claims.items():
        cells = [column.get(key) for column in columns.values()]
        texts = [", ".join(filter(None, (f"**{cell.answer}**", cell.text))) if cell else "" for cell in cells]
        lines.append([claim.report_says or claim.statement, *texts])
    return Table("Verdicts", ["the report says", *columns], lines)


def _numbers(record: Mapping, form: str) -> tuple[str, str, str]:
    """Return the value, interval and threshold of a condition or claim as texts, which are empty if it has no value."""
    measured, threshold = record.get("measured"), record.get("threshold")
    if measured is None:
        return "", "", ""
    bounds, kind = (record["interval"], Estimate) if record.get("interval") else (record.get("range"), SeedRange)
    interval = written_interval(kind(measured, **bounds), form) if bounds else ""
    return written(measured, form), interval, "" if threshold is None else written_limit(threshold, form)


def _evidence(claim: str, numbers: Mapping[str, float]) -> list[tuple[str, str]]:
    """Return the name and the text of each number. `<key>_low` and `<key>_high` become the interval of `<key>`."""
    texts = []
    for key, value in numbers.items():
        if key.rpartition("_")[0] in numbers and key.endswith(("_low", "_high")):
            continue
        low, high = numbers.get(f"{key}_low"), numbers.get(f"{key}_high")
        number = value if low is None or high is None else Estimate(value, low, high)
        fact = FACTS.get((claim, key))
        texts.append((fact.title, written(number, fact.format)) if fact else (key.replace("_", " "), written(number)))
    return texts
