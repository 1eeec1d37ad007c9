"""The results so far as tables on the terminal, and as one JSON document."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from triptych.core.errors import InputError
from triptych.page import tables
from triptych.page.verdicts import Verdict, counts, verdict
from triptych.report.formatting import duration, written
from triptych.report.reader import CLAIMS, Metrics, Results
from triptych.report.record import Part, Study
from triptych.studies import STUDIES

PAGE = "plots/report.html"
# The mark and the colour of each verdict: not by colour alone.
MARKS = {"reproduced": ("●", "green"), "not reproduced": ("◆", "red"), "inconclusive": ("○", "yellow")}
WIDTH = 100  # columns, where the output is no terminal


def console() -> Console:
    """Where the tables go: as wide as the terminal, or WIDTH where there is none."""
    has_width = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if has_width else WIDTH)


@dataclass(frozen=True)
class Found:
    """What has run: metrics and timing by model, and the records of the claims (None before the claims stage)."""

    metrics: list[tuple[Study, Part, Metrics]]
    timing: list[tuple[Part, Metrics]]
    claims: list[dict] | None
    page: str | None

    def document(self) -> dict:
        """The same for scripts, each under the path of its file."""
        return {
            "metrics": {metrics.path: metrics.values for _, _, metrics in self.metrics},
            "timing": {metrics.path: metrics.values for _, metrics in self.timing},
            "claims": self.claims,
            "page": self.page,
        }


def found(results: Results) -> Found:
    """Everything measured so far.

    Raises:
        InputError: nothing has run yet, or a file is damaged.
    """
    models = [(study, part) for study in STUDIES for part in study.parts(results.params)]
    metrics = [(study, part, results.metrics(part.name)) for study, part in models if results.has(part.metrics)]
    timing = [(part, results.timing(part.name)) for _, part in models if results.has(part.timing)]
    claims = results.claims() if results.has(CLAIMS) else None
    if not metrics and not timing and claims is None:
        raise InputError("nothing has run here yet: `make repro` runs the whole pipeline")
    return Found(metrics, timing, claims, PAGE if results.has(PAGE) else None)


def show(what: Found, console: Console) -> None:
    """Prints the numbers, the verdicts, the seconds of each stage, and where the page is."""
    alone = [entry for entry in what.metrics if not entry[0].compares]
    if alone:
        console.print(_numbers(alone))
    for study in STUDIES:
        models = [(part, metrics) for of, part, metrics in what.metrics if of is study]
        if study.compares and models:
            console.print(_comparison(study, models))
    for words, parts in _left_out(what).items():
        console.print(f"left out of {', '.join(parts)}: {words}", markup=False, soft_wrap=True)
    if what.claims is not None:
        console.print(_verdicts([verdict(record) for record in what.claims]))
    if what.timing:
        console.print(_times(what.timing))
    words = f"the report: {PAGE}" if what.page else "the report page is not built yet: `dvc repro report` builds it"
    console.print(words, markup=False, soft_wrap=True)


def _left_out(what: Found) -> dict[str, list[str]]:
    """What the images could not give and why, each with the models that it is left out of."""
    found: dict[str, list[str]] = {}
    for _, part, metrics in what.metrics:
        for reason, names in tables.left_out(metrics).items():
            found.setdefault(f"{', '.join(names)}, as {reason}", []).append(part.title)
    return found


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)


def _numbers(entries: Sequence[tuple[Study, Part, Metrics]]) -> Table:
    table = _table("Measured")
    table.add_column("", no_wrap=True)
    table.add_column("measure")
    for name in ("value", "interval"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("for comparison", style="dim")
    for study, part, metrics in entries:
        for position, row in enumerate(tables.rows(study, metrics)):
            name = part.title if position == 0 else ""
            reference = f"{row.reference_name} {row.reference}" if row.reference else ""
            table.add_row(*map(escape, (name, row.name, row.value, row.interval, reference)))
        table.add_section()
    return table


def _comparison(study: Study, models: Sequence[tuple[Part, Metrics]]) -> Table:
    """A row for each model; the first number with its interval and what it is read against."""
    table = _table(study.title)
    table.add_column("method", no_wrap=True)
    columns = [metric for metric in study.metrics if metric.short]
    for metric in columns:
        table.add_column(metric.short, justify="right", no_wrap=metric.words is None)
        if metric is columns[0]:
            table.add_column("interval", justify="right", no_wrap=True)
            table.add_column(metric.reference_name, justify="right", no_wrap=True, style="dim")
    for part, metrics in models:
        rows = {row.key: row for row in tables.rows(study, metrics)}
        cells = []
        for metric in columns:
            row = rows.get(metric.key)
            cells.append(row.value if row else "–")
            if metric is columns[0]:
                cells += [row.interval, row.reference] if row else ["", ""]
        table.add_row(*map(escape, (part.title, *cells)))
    return table


def _verdicts(verdicts: Sequence[Verdict]) -> Table:
    told = ", ".join(f"{count} {one.verdict}" for one, count in counts(verdicts))
    table = _table(f"Verdicts on the report's claims: {told}")
    table.add_column("verdict", no_wrap=True)
    table.add_column("claim and finding", ratio=1)
    table.add_column("measured", justify="right", no_wrap=True)
    for one in verdicts:
        mark, colour = MARKS.get(one.verdict, ("·", "default"))
        seen = f"\n[dim]{escape(one.seen)}[/]" if one.seen else ""
        threshold = f"threshold {one.threshold}" if one.threshold else ""
        small = "".join(f"\n[dim]{escape(text)}[/]" for text in (one.interval, threshold) if text)
        table.add_row(
            f"[{colour}]{mark} {escape(one.verdict)}[/]",
            f"{escape(one.claim)}{seen}",
            f"{escape(one.measured or '–')}{small}",
        )
        table.add_section()
    return table


def _times(timing: Sequence[tuple[Part, Metrics]]) -> Table:
    table = _table("Training time by stage")
    table.add_column("stage", no_wrap=True)
    for name in ("training", "seconds an epoch", "images a second"):
        table.add_column(name, justify="right")
    for part, metrics in timing:
        table.add_row(
            escape(part.trained_by),
            duration(metrics.values.get("seconds_total", 0)),
            written(metrics.values.get("seconds_per_epoch"), ",.2f"),
            written(metrics.values.get("images_per_second"), ",.0f"),
        )
    total = sum(metrics.values.get("seconds_total", 0) for _, metrics in timing)
    table.add_section()
    table.add_row("all", duration(total), "", "")
    return table
