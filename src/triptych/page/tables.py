"""Tables of numbers, ready to print: those of one model, and those of several side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from triptych.measures.estimate import Estimate
from triptych.report.formatting import written, written_interval
from triptych.report.reader import Metrics
from triptych.report.record import Metric, Part, Study
from triptych.studies import METRICS


@dataclass(frozen=True)
class Row:
    """One number; the texts that do not apply are empty."""

    key: str
    name: str
    meaning: str
    value: str
    interval: str
    reference: str
    reference_name: str


@dataclass(frozen=True)
class Compared:
    """One model among others: its numbers in the order of the columns, None where it has no such number."""

    part: Part
    cells: list[Row | None]


def rows(study: Study, metrics: Metrics) -> list[Row]:
    """The numbers of a metrics file, those with a record first, in the order of the records.

    A number that another is read against, or that another's words tell, stands there and has no row of its own. Tables
    in the file are left to `tables`, and words to `notes`.
    """
    numbers = {
        key: value for key, value in metrics.leaves().items() if not _is_table(value) and not isinstance(value, str)
    }
    records = [metric(key) for key in numbers]
    elsewhere = {key for record in records for key in (record.reference, *record.tells)}
    ranks = {record.key: rank for rank, record in enumerate(study.metrics)}
    shown = sorted(
        (record for record in records if record.key not in elsewhere),
        key=lambda record: ranks.get(record.key, len(ranks)),
    )
    return [_row(record, numbers, metrics) for record in shown]


def comparison(study: Study, parts: Sequence[tuple[Part, Metrics]]) -> tuple[list[Metric], list[Compared]]:
    """Columns and rows of the table that compares models by their metrics files."""
    found = [(part, {row.key: row for row in rows(study, metrics)}) for part, metrics in parts]
    there = {key for _, cells in found for key in cells}
    known = [record for record in study.metrics if record.key in there]
    unknown = sorted(there - {record.key for record in known})
    columns = [*known, *map(metric, unknown)]
    return columns, [Compared(part, [cells.get(column.key) for column in columns]) for part, cells in found]


def tables(metrics: Metrics) -> dict[str, list[dict[str, str]]]:
    """The tables in a metrics file, such as `restoration`: each a list of {column: text}, intervals in brackets."""
    return {
        key: [_table_row(row) for row in metrics.rows(key)] for key, value in metrics.values.items() if _is_table(value)
    }


def notes(metrics: Metrics) -> list[tuple[str, str]]:
    """(key, words) of what a metrics file says in words: the likelihood that a bound is under; what is left out."""
    said = [(key.replace("_", " "), value) for key, value in metrics.leaves().items() if isinstance(value, str)]
    return [(key, value.removesuffix(".")) for key, value in said] + [
        ("left out", f"{', '.join(names)}, as {reason}") for reason, names in left_out(metrics).items()
    ]


def left_out(metrics: Metrics) -> dict[str, list[str]]:
    """The names of the numbers that the images could not give, by the reason."""
    found: dict[str, list[str]] = {}
    for key, reason in metrics.left_out.items():
        found.setdefault(reason, []).append(metric(key).name)
    return {reason: list(dict.fromkeys(names)) for reason, names in found.items()}


def metric(key: str) -> Metric:
    """The words of a key; an unknown one goes by its own name."""
    return METRICS.get(key) or Metric(key, key, format=".4g")


def _row(record: Metric, numbers: Mapping, metrics: Metrics) -> Row:
    value, has_reference = numbers[record.key], record.reference in numbers
    told = isinstance(value, Estimate)
    return Row(
        key=record.key,
        name=record.name,
        meaning=record.meaning,
        value=record.words(metrics) if record.words else written(value.value if told else value, record.format),
        interval=written_interval(value, record.format) if told else "",
        reference=written(metrics.number(record.reference), record.format) if has_reference else "",
        reference_name=record.reference_name if has_reference else "",
    )


def _table_row(row: Metrics) -> dict[str, str]:
    return {metric(key).name: written(value, metric(key).format) for key, value in row.leaves().items()}


def _is_table(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(entry, Mapping) for entry in value)
