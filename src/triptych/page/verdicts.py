"""The verdicts on the report's claims as text, for the page, the terminal and Markdown."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from triptych.measures.estimate import Estimate
from triptych.page.tables import Table
from triptych.report.formatting import written, written_interval, written_limit
from triptych.report.reader import Results
from triptych.studies import CLAIMS

# A claim is reproduced; a condition of one is met.
ANSWERS = {"reproduced": "met", "not reproduced": "not met", "inconclusive": "undecided"}
FORMATS = {(claim.id, ""): claim.format for claim in CLAIMS} | {
    (claim.id, condition.id): condition.format for claim in CLAIMS for condition in claim.conditions
}
FACTS = {(claim.id, fact.key): fact for claim in CLAIMS for fact in claim.facts}
OTHER = "#.3g"  # format of a number that has no record


@dataclass(frozen=True)
class Condition:
    """One number against a threshold, as text; what does not apply is empty."""

    statement: str
    answer: str
    value: str
    interval: str
    threshold: str

    @property
    def number(self) -> str:
        """Value and interval: `38.2 % (35.2 to 42.3 %)`."""
        return f"{self.value} ({self.interval})" if self.interval else self.value


@dataclass(frozen=True)
class Verdict(Condition):
    """A claim of the report. Its answer is the verdict, its number the deciding one, which `statistic` names."""

    id: str
    report_says: str
    finding: str
    statistic: str
    conditions: list[Condition]  # none in records of older runs
    figures: list[int]
    evidence: list[tuple[str, str]]  # name and text
    sources: list[str]


def verdict(record: Mapping) -> Verdict:
    """Convert a record of metrics/claims.json to text."""
    name = record["id"]
    conditions = [
        Condition(
            entry["statement"].removesuffix("."),
            ANSWERS.get(entry["verdict"], entry["verdict"]),
            *_numbers(entry, FORMATS.get((name, entry["id"]), OTHER)),
        )
        for entry in record.get("conditions") or []
    ]
    return Verdict(
        record.get("claim") or name,
        record["verdict"],
        *_numbers(record, FORMATS.get((name, ""), OTHER)),
        id=name,
        report_says=record.get("report_says") or "",
        finding=record.get("finding") or "",
        statistic=(record.get("statistic") or "").partition(";")[0],
        conditions=conditions,
        figures=record.get("figures") or [],
        evidence=_evidence(name, record.get("evidence") or {}),
        sources=record.get("sources") or [],
    )


def counts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """Count the claims with each verdict, in order of appearance."""
    return dict(Counter(one.answer for one in verdicts))


def verdicts_table(runs: Mapping[str, Results]) -> Table:
    """Tabulate the claims of several runs: one row per claim, one column per run."""
    found = {name: {one.id: one for one in map(verdict, results.claims())} for name, results in runs.items()}
    claims = {one.id: one for of_run in found.values() for one in of_run.values()}
    lines = []
    for key, claim in claims.items():
        of_claim = [of_run.get(key) for of_run in found.values()]
        cells = [", ".join(filter(None, (f"**{one.answer}**", one.number))) if one else "" for one in of_claim]
        lines.append([claim.report_says or claim.statement, *cells])
    return Table("Verdicts", ["the report says", *found], lines)


def _numbers(record: Mapping, form: str) -> tuple[str, str, str]:
    measured, interval, threshold = (record.get(key) for key in ("measured", "interval", "threshold"))
    if measured is None:
        return "", "", ""
    value = written(measured, form)
    limit = "" if threshold is None else written_limit(threshold, form)
    return value, written_interval(Estimate(measured, **interval), form) if interval else "", limit


def _evidence(claim: str, numbers: Mapping[str, float]) -> list[tuple[str, str]]:
    """Return name and text of each number; `<key>_low` and `<key>_high` are the interval of `<key>`."""
    texts = []
    for key, value in numbers.items():
        if key.rpartition("_")[0] in numbers and key.endswith(("_low", "_high")):
            continue
        low, high = numbers.get(f"{key}_low"), numbers.get(f"{key}_high")
        number = value if low is None or high is None else Estimate(value, low, high)
        fact = FACTS.get((claim, key))
        texts.append((fact.title, written(number, fact.format)) if fact else (key.replace("_", " "), written(number)))
    return texts
