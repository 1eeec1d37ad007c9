"""Verdicts on the report's claims, formatted as text for the page, the terminal and Markdown."""

from collections.abc import Mapping
from dataclasses import dataclass

from triptych.measures.estimate import Estimate
from triptych.page.tables import Measured, Table
from triptych.report.formatting import written, written_interval, written_limit
from triptych.report.reader import Results
from triptych.studies import CLAIMS

# Text for the verdict of a condition, by its verdict in claims.json.
ANSWERS = {"reproduced": "met", "not reproduced": "not met", "inconclusive": "undecided"}
FORMATS = {(claim.id, ""): claim.format for claim in CLAIMS} | {
    (claim.id, condition.id): condition.format for claim in CLAIMS for condition in claim.conditions
}
FACTS = {(claim.id, fact.key): fact for claim in CLAIMS for fact in claim.facts}
OTHER = "#.3g"  # format of a number that has no record


@dataclass(frozen=True)
class Condition(Measured):
    """A comparison of a number with a threshold, formatted as text. Fields without content are empty strings."""

    threshold: str
    statement: str
    answer: str


@dataclass(frozen=True)
class Verdict(Condition):
    """A claim of the report with its verdict (`answer`) and its main number (`value`), formatted as text."""

    id: str
    report_says: str
    finding: str  # empty unless inconclusive, since it would repeat the conditions
    conditions: list[Condition]
    figures: list[int]
    evidence: list[tuple[str, str]]  # name and text
    sources: list[str]


def verdict(record: Mapping) -> Verdict:
    """Convert a record of metrics/claims.json to a verdict."""
    name = record["id"]
    return Verdict(
        *_numbers(record, FORMATS.get((name, ""), OTHER)),
        record.get("claim") or name,
        record["verdict"],
        id=name,
        report_says=record.get("report_says") or "",
        finding=(record.get("finding") or "") if record["verdict"] == "inconclusive" else "",
        conditions=[
            Condition(
                *_numbers(entry, FORMATS.get((name, entry["id"]), OTHER)),
                entry["statement"].removesuffix("."),
                ANSWERS.get(entry["verdict"], entry["verdict"]),
            )
            for entry in record.get("conditions") or []  # archives of older versions have none
        ],
        figures=record.get("figures") or [],
        evidence=_evidence(name, record.get("evidence") or {}),
        sources=record.get("sources") or [],
    )


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
    """Return the value, interval and threshold of a condition or claim as text, or empty strings if it has no value."""
    measured, interval, threshold = (record.get(key) for key in ("measured", "interval", "threshold"))
    if measured is None:
        return "", "", ""
    limit = "" if threshold is None else written_limit(threshold, form)
    return written(measured, form), written_interval(Estimate(measured, **interval), form) if interval else "", limit


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
