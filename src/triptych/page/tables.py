"""Tables of results as text, for the page, the terminal, Markdown and the model cards."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from triptych.core.errors import InputError
from triptych.measures.estimate import Estimate
from triptych.report.formatting import PERCENT, duration, written, written_interval
from triptych.report.reader import Metrics, Results
from triptych.report.record import Metric, Model, Study
from triptych.ssl.words.variants import variants
from triptych.studies import METRICS, STUDIES

ESCAPED = "\\|"  # a vertical line in a cell of Markdown
# Between two stages DVC hashes and copies outputs for a few seconds. A longer gap means that the run was paused.
PAUSE_SECONDS = 60.0

Clock = tuple[float, float, float]  # process started, imports done, work done: seconds since 1970


@dataclass(frozen=True)
class Table:
    """A table of strings that ends with the rows `totals`. The first `text_columns` columns hold words, not numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    totals: Sequence[Sequence[str]] = ()
    text_columns: int = 1

    def without_last_column(self) -> "Table":
        return replace(self, columns=self.columns[:-1], rows=[cells[:-1] for cells in self.rows])

    def markdown(self) -> str:
        """Return the table in Markdown, without its title."""
        lines = [
            "".join(f"| {cell.replace('|', ESCAPED)} " for cell in cells) + "|"
            for cells in (self.columns, *self.rows, *self.totals)
        ]
        return "\n".join([lines[0], "|---" * len(self.columns) + "|", *lines[1:]])


@dataclass(frozen=True)
class Measured:
    """A number and its confidence interval, formatted as text. A missing value is an empty string."""

    value: str
    interval: str

    @property
    def text(self) -> str:
        """The value, followed by the interval in parentheses if there is one, such as `38.2 % (35.2 to 42.3 %)`."""
        return f"{self.value} ({self.interval})" if self.interval else self.value


@dataclass(frozen=True)
class Row(Measured):
    """A metric of a model, formatted as text. `reference` is a value for comparison, or an empty string."""

    metric: Metric
    reference: str


def rows(study: Study, metrics: Metrics) -> list[Row]:
    """Return one row per number in a metrics file, in the order of the study's metrics. Unknown keys come last.

    A number is omitted if another row shows it as a reference or in its text. `tables` returns the lists of records,
    and `notes` the strings.
    """
    numbers = {
        key: value for key, value in metrics.leaves().items() if not _is_table(value) and not isinstance(value, str)
    }
    records = [metric(key) for key in numbers]
    elsewhere = {key for record in records for key in (record.reference, *record.tells)}
    ranks = {record.key: rank for rank, record in enumerate(study.metrics)}
    shown = []
    for record in sorted(records, key=lambda record: ranks.get(record.key, len(ranks))):
        if record.key in elsewhere:
            continue
        value = numbers[record.key]
        interval = written_interval(value, record.format) if isinstance(value, Estimate) else ""
        point = value.value if isinstance(value, Estimate) else value
        text = record.words(metrics) if record.words else written(point, record.format)
        reference = written(metrics.number(record.reference), record.format) if record.reference in numbers else ""
        shown.append(Row(text, interval, record, reference))
    return shown


def tables(metrics: Metrics) -> list[Table]:
    """Return one table for each list of records in a metrics file."""
    records = {
        name: [row.leaves() for row in metrics.rows(name)] for name, value in metrics.values.items() if _is_table(value)
    }
    return [
        Table(
            name,
            [metric(key).name for key in entries[0]],
            [[written(entry.get(key), metric(key).format) for key in entries[0]] for entry in entries],
        )
        for name, entries in records.items()
    ]


def notes(metrics: Metrics) -> list[tuple[str, str]]:
    """Return pairs of name and text: strings in `metrics`, and "not measured" with each reason for missing numbers."""
    texts = [
        (key.replace("_", " "), value.removesuffix("."))
        for key, value in metrics.leaves().items()
        if isinstance(value, str) and key != "collapse_kind"  # the row of `collapsed` shows it
    ]
    return texts + [("not measured", text) for text in unmeasured(metrics)]


def unmeasured(metrics: Metrics) -> list[str]:
    """Return one text per reason for missing numbers, such as `precision, recall: there are 3 images`."""
    names: dict[str, list[str]] = {}
    for key, reason in metrics.left_out.items():
        names.setdefault(reason, []).append(metric(key).name)
    return [f"{', '.join(dict.fromkeys(keys))}: {reason}" for reason, keys in names.items()]


def metric(key: str) -> Metric:
    """Return the record of the metric `key`. For an unknown key, return a record that has the key as its name."""
    return METRICS.get(key) or Metric(key, key, format=".4g")


def _is_table(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(entry, Mapping) for entry in value)


def measured(results: Results) -> Iterator[tuple[Study, Model, Metrics]]:
    """Yield (study, model, metrics) for each model that has metrics."""
    for study in STUDIES:
        for model in study.models(results.params):
            if results.has(model.metrics):
                yield study, model, results.metrics(model.name)


def models_table(results: Results, headline: bool = False) -> Table:
    """Return a table of the metrics of all studies that do not compare models.

    If `headline` is True, the table has headline metrics only.
    """
    lines = []
    for study, model, metrics in measured(results):
        for row in () if study.compares else rows(study, metrics):
            if row.metric.headline or not headline:
                reference = f" ({row.metric.reference_name}: {row.reference})" if row.reference else ""
                file = f"`{model.metrics}` `{row.metric.key}`"
                lines.append([model.title, row.metric.name + reference, row.value, row.interval, file])
    return Table("Results", ["model", "measure", "value", "interval", "file and key"], lines, text_columns=2)


def comparison(study: Study, models: Sequence[tuple[Model, Metrics]]) -> tuple[list[Metric], list[list[Row | None]]]:
    """Return the metrics that any of the models has, and one row of cells per model, with None for a missing metric."""
    by_key = [{row.metric.key: row for row in rows(study, metrics)} for _, metrics in models]
    present = {key for cells in by_key for key in cells}
    known = [record for record in study.metrics if record.key in present]
    columns = [*known, *map(metric, sorted(present - {record.key for record in known}))]
    return columns, [[cells.get(column.key) for column in columns] for cells in by_key]


def compared_tables(results: Results, names: Collection[str] = ()) -> list[Table]:
    """Return a table for each study that compares models, with one row per model and one column per selected metric.

    `names` selects the models; if it is empty, the table has all of them.
    """
    tabulated = []
    for study in STUDIES:
        models = [
            (model, metrics)
            for of, model, metrics in measured(results)
            if of is study and study.compares and (not names or model.name in names)
        ]
        if not models:
            continue
        columns, cells = comparison(study, models)
        shown = [index for index, column in enumerate(columns) if column.short]
        lines = [
            [model.title, *(row[index].text if row[index] else "" for index in shown), f"`{model.metrics}`"]
            for (model, _), row in zip(models, cells, strict=True)
        ]
        tabulated.append(Table(study.title, ["model", *(columns[index].short for index in shown), "file"], lines))
    return tabulated


def results_markdown(results: Results) -> str:
    """Return the tables of results in Markdown, for the README."""
    shown = [models_table(results, headline=True), *compared_tables(results)]
    return "\n\n".join(table.markdown() for table in shown) + "\n"


def trainings(results: Results) -> list[tuple[Model, Mapping]]:
    """Return pairs of a trained model and the values in its file of training times."""
    models = [model for study in STUDIES for model in study.models(results.params) if results.has(model.timing)]
    return [(model, results.timing(model.name).values) for model in models]


def training_table(results: Results) -> Table:
    """Return a table of the training time and the training speed of each model."""
    trained = trainings(results)
    lines = [
        [
            model.trained_by,
            written(timing.get("parameters"), ","),
            written(timing.get("seconds_per_epoch"), ",.2f"),
            written(timing.get("images_per_second"), ",.0f"),
            duration(timing.get("seconds_total", 0)),
        ]
        for model, timing in trained
    ]
    total = duration(sum(timing.get("seconds_total", 0) for _, timing in trained))
    columns = ["stage", "parameters", "seconds per epoch", "images per second", "training time"]
    return Table("Training time", columns, lines, [["all", "", "", "", total]])


def clock_files(params: Mapping) -> dict[str, list[str]]:
    """Map each row name in the table of stage times to names of files in metrics/clock, whose times the row adds up."""
    names = list(variants(params))
    generative = [name for model in ("vae", "ddpm") for name in (model, f"sample/{model}", f"evaluate_{model}")]
    return {
        **{name.replace("/", "@"): [name] for name in ("prepare", "classifier", "evaluate_classifier", *generative)},
        "ssl@*": [f"ssl/{name}" for name in names],
        "ssl_baselines": ["ssl_baselines"],
        "evaluate_ssl@*": [f"evaluate_ssl/{name}" for name in names],
        "claims": ["claims"],
        "figures": ["figures"],
    }


def time_spent(results: Results) -> tuple[Table, str] | None:
    """Return a table of stage times and a sentence on wall-clock time, or None if metrics/clock contains no times."""
    files = clock_files(results.params)
    clocks = {row: [clock for name in names if (clock := _clock(name, results))] for row, names in files.items()}
    in_order = sorted(clock for of_row in clocks.values() for clock in of_row)
    if not in_order:
        return None
    seconds = {
        row: (sum(clock[1] - clock[0] for clock in of_row), sum(clock[2] - clock[1] for clock in of_row))
        for row, of_row in clocks.items()
    }
    sums = [sum(column) for column in zip(*seconds.values(), strict=True)]
    lines = []
    for row, names in files.items():
        ran, planned = len(clocks[row]), len(names)
        count = f" ({planned if ran in (0, planned) else f'{ran} of {planned}'})" if planned > 1 else ""
        lines.append([f"{row}{count}", *(_cells(seconds[row], sum(sums)) if ran else "––––")])
    totals = [["all", *_cells(sums, sum(sums))]]
    return Table(
        "Time per stage, in seconds", ("stage", "imports", "work", "all", "share"), lines, totals
    ), _wall_clock(in_order)


def time_markdown(results: Results) -> str:
    """Return the result of `time_spent` in Markdown. Raises InputError if there are no times."""
    spent = time_spent(results)
    if spent is None:
        raise InputError(f"{results.root / 'metrics/clock'}: no stage has recorded its run time; run `dvc repro` first")
    table, sentence = spent
    return f"{table.markdown()}\n\n{sentence}\n"


def _clock(name: str, results: Results) -> Clock | None:
    times = results.metrics(f"clock/{name}").values if results.has(f"metrics/clock/{name}.json") else {}
    return (times["started"], times["imported"], times["ended"]) if "ended" in times else None


def _cells(seconds: Sequence[float], whole: float) -> list[str]:
    return [*(written(value, ",.1f") for value in (*seconds, sum(seconds))), written(sum(seconds) / whole, PERCENT)]


def _wall_clock(clocks: Sequence[Clock]) -> str:
    """Describe the time from the start of the first stage to the end of the last stage, excluding long pauses."""
    gaps, (first, _, end) = [], clocks[0]
    for started, _, ended in clocks[1:]:
        gaps.append(max(0.0, started - end))
        end = max(end, ended)
    pauses = [gap for gap in gaps if gap > PAUSE_SECONDS]
    text = f"Wall-clock time without the report stage: {duration(end - first - sum(pauses))}"
    text += f", of which {duration(sum(gaps) - sum(pauses))} between stages (DVC)."
    if not pauses:
        return text
    count = "one pause" if len(pauses) == 1 else f"{len(pauses)} pauses"
    return f"{text} Not counted: {count} of more than {PAUSE_SECONDS:g} s, {duration(sum(pauses))} in total."
