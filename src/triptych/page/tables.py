"""Results as tables of text: one source for the page, the terminal, Markdown and the model cards."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from triptych.measures.estimate import Estimate
from triptych.report.formatting import duration, written, written_interval
from triptych.report.reader import Metrics, Results
from triptych.report.record import Metric, Model, Study
from triptych.studies import METRICS, STUDIES

ESCAPED = "\\|"  # a vertical line in a cell of Markdown


@dataclass(frozen=True)
class Table:
    """Cells of text under column headings, with totals below the rows; `text_columns` come before the numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    totals: Sequence[Sequence[str]] = ()
    text_columns: int = 1

    def without(self, column: str) -> "Table":
        """Return the table without one column."""
        index = self.columns.index(column)
        columns, *rows = ([*cells[:index], *cells[index + 1 :]] for cells in (self.columns, *self.rows))
        return replace(self, columns=columns, rows=rows)

    def markdown(self) -> str:
        """Write the table in Markdown, without its title."""
        lines = [
            "".join(f"| {cell.replace('|', ESCAPED)} " for cell in cells) + "|"
            for cells in (self.columns, *self.rows, *self.totals)
        ]
        return "\n".join([lines[0], "|---" * len(self.columns) + "|", *lines[1:]])


@dataclass(frozen=True)
class Row:
    """One number of a model; texts that do not apply are empty."""

    key: str
    name: str
    meaning: str
    value: str
    interval: str
    reference: str
    reference_name: str

    @property
    def text(self) -> str:
        """Value and interval: `38.2 % (35.2 to 42.3 %)`."""
        return f"{self.value} ({self.interval})" if self.interval else self.value


# Numbers of one model -------------------------------------------------------------------------------------------------


def rows(study: Study, metrics: Metrics) -> list[Row]:
    """Return the numbers of a metrics file in the order of the study's metrics, unknown ones last.

    A number that another row shows as its reference or in its words has no row of its own. Lists of records are left
    to `tables`, texts to `notes`.
    """
    numbers = {
        key: value for key, value in metrics.leaves().items() if not _is_table(value) and not isinstance(value, str)
    }
    records = [metric(key) for key in numbers]
    elsewhere = {key for record in records for key in (record.reference, *record.tells)}
    ranks = {record.key: rank for rank, record in enumerate(study.metrics)}
    shown = [record for record in records if record.key not in elsewhere]
    return [_row(record, numbers, metrics) for record in sorted(shown, key=lambda one: ranks.get(one.key, len(ranks)))]


def tables(metrics: Metrics) -> list[Table]:
    """Return each list of records in a metrics file, such as `restoration`, as a table."""
    found = []
    for name, value in metrics.values.items():
        if _is_table(value):
            records = [row.leaves() for row in metrics.rows(name)]
            keys = list(records[0])
            cells = [[written(record.get(key), metric(key).format) for key in keys] for record in records]
            found.append(Table(name, [metric(key).name for key in keys], cells))
    return found


def notes(metrics: Metrics) -> list[tuple[str, str]]:
    """Return (name, text) of the texts in a metrics file, and the numbers that it leaves out with the reason."""
    texts = [
        (key, value)
        for key, value in metrics.leaves().items()
        if isinstance(value, str) and key != "collapse_kind"  # the text of `collapsed` has it
    ]
    return [(key.replace("_", " "), value.removesuffix(".")) for key, value in texts] + [
        ("not measured", text) for text in left_out(metrics)
    ]


def left_out(metrics: Metrics) -> list[str]:
    """Return `precision, recall: there are 3 images` for each reason why the data gave no numbers."""
    names: dict[str, list[str]] = {}
    for key, reason in metrics.left_out.items():
        names.setdefault(reason, []).append(metric(key).name)
    return [f"{', '.join(dict.fromkeys(keys))}: {reason}" for reason, keys in names.items()]


def metric(key: str) -> Metric:
    """Return the record of a key; an unknown key is its own name."""
    return METRICS.get(key) or Metric(key, key, format=".4g")


def _row(record: Metric, numbers: Mapping, metrics: Metrics) -> Row:
    value, has_reference = numbers[record.key], record.reference in numbers
    is_estimate = isinstance(value, Estimate)
    return Row(
        key=record.key,
        name=record.name,
        meaning=record.meaning,
        value=record.words(metrics) if record.words else written(value.value if is_estimate else value, record.format),
        interval=written_interval(value, record.format) if is_estimate else "",
        reference=written(metrics.number(record.reference), record.format) if has_reference else "",
        reference_name=record.reference_name if has_reference else "",
    )


def _is_table(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(entry, Mapping) for entry in value)


# Models side by side --------------------------------------------------------------------------------------------------


def measured(results: Results) -> Iterator[tuple[Study, Model, Metrics]]:
    """Yield every model that has been measured, with its metrics."""
    for study in STUDIES:
        for part in study.models(results.params):
            if results.has(part.metrics):
                yield study, part, results.metrics(part.name)


def models_table(results: Results, headline: bool = False) -> Table:
    """Tabulate all numbers, or the headline numbers, of the studies that have one model each."""
    lines = []
    for study, part, metrics in measured(results):
        wanted = {one.key for one in study.metrics if one.headline or not headline}
        for row in () if study.compares else rows(study, metrics):
            if not headline or row.key in wanted:
                reference = f" ({row.reference_name}: {row.reference})" if row.reference else ""
                where = f"`{part.metrics}` `{row.key}`"
                lines.append([part.title, row.name + reference, row.value, row.interval, where])
    return Table("Results", ["model", "measure", "value", "interval", "file and key"], lines, text_columns=2)


def comparison(study: Study, models: Sequence[tuple[Model, Metrics]]) -> tuple[list[Metric], list[list[Row | None]]]:
    """Return the columns, and per model a row or None in each column, of the table that compares models."""
    found = [{row.key: row for row in rows(study, metrics)} for _, metrics in models]
    there = {key for cells in found for key in cells}
    known = [record for record in study.metrics if record.key in there]
    columns = [*known, *map(metric, sorted(there - {record.key for record in known}))]
    return columns, [[cells.get(column.key) for column in columns] for cells in found]


def compared_tables(results: Results) -> list[Table]:
    """Tabulate each study that compares its models: one model per row, one column per metric that has a short name."""
    studies: dict[str, tuple[Study, list]] = {}
    for study, part, metrics in measured(results):
        if study.compares:
            studies.setdefault(study.slug, (study, []))[1].append((part, metrics))
    found = []
    for study, models in studies.values():
        columns, cells = comparison(study, models)
        shown = [index for index, column in enumerate(columns) if column.short]
        lines = [
            [part.title, *(row[index].text if row[index] else "" for index in shown), f"`{part.metrics}`"]
            for (part, _), row in zip(models, cells, strict=True)
        ]
        found.append(Table(study.title, ["model", *(columns[index].short for index in shown), "file"], lines))
    return found


def results_markdown(results: Results) -> str:
    """Write the README's tables of results in Markdown."""
    shown = [models_table(results, headline=True), *compared_tables(results)]
    return "\n\n".join(table.markdown() for table in shown) + "\n"


def trainings(results: Results) -> list[tuple[Model, Mapping]]:
    """Return every model that has been trained, with the timing of its training."""
    parts = [part for study in STUDIES for part in study.models(results.params) if results.has(part.timing)]
    return [(part, results.timing(part.name).values) for part in parts]


def training_table(results: Results) -> Table:
    """Tabulate wall-clock time and speed of every training."""
    trained = trainings(results)
    lines = [
        [
            part.trained_by,
            written(timing.get("parameters"), ","),
            written(timing.get("seconds_per_epoch"), ",.2f"),
            written(timing.get("images_per_second"), ",.0f"),
            duration(timing.get("seconds_total", 0)),
        ]
        for part, timing in trained
    ]
    total = duration(sum(timing.get("seconds_total", 0) for _, timing in trained))
    columns = ["stage", "parameters", "seconds per epoch", "images per second", "training time"]
    return Table("Training time", columns, lines, [["all", "", "", "", total]])
