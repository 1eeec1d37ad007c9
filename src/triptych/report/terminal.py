"""The results so far as tables on the terminal, and as one JSON document."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from triptych.core.errors import InputError
from triptych.core.schema import read_yaml
from triptych.results import measurements
from triptych.results.measurements import Source, Verdict

CLAIMS = Path("metrics/claims.json")
PAGE = Path("plots/report.html")
# The mark and the colour of each verdict: not by colour alone.
MARKS = {"reproduced": ("●", "green"), "not reproduced": ("◆", "red"), "inconclusive": ("○", "yellow")}
METHODS = "simsiam"  # the study whose methods share one table
# What of them fits side by side, and its short name; the page has all of it.
COMPARED = {
    "knn_accuracy": "kNN",
    "linear_accuracy": "linear",
    "embedding_std": "std",
    "effective_rank": "rank",
    "collapsed": "collapsed",
}
WIDTH = 100  # columns, where the output is no terminal


def console() -> Console:
    """Where the tables go: as wide as the terminal, or WIDTH where there is none."""
    has_width = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if has_width else WIDTH)


@dataclass(frozen=True)
class Results:
    """What has run: metrics and timing by part, and the verdicts (None before the claims stage)."""

    metrics: list[tuple[Source, dict]]
    timing: list[tuple[Source, dict]]
    claims: list[dict] | None

    def document(self) -> dict:
        """The same for scripts, each under the path of its file."""
        return {
            "metrics": {source.metrics.as_posix(): content for source, content in self.metrics},
            "timing": {source.timing.as_posix(): content for source, content in self.timing},
            "claims": self.claims,
            "page": PAGE.as_posix() if PAGE.exists() else None,
        }


def results(params: Path = Path("params.yaml")) -> Results:
    """Everything measured so far in the working directory.

    Raises:
        InputError: nothing has run yet, or a file is damaged.
    """
    sources = measurements.every_source(read_yaml(params))
    metrics = [(source, content) for source in sources if (content := measurements.read_metrics(source.metrics))]
    timing = [(source, content) for source in sources if (content := measurements.read_metrics(source.timing))]
    claims = measurements.read_claims(CLAIMS)
    if not metrics and not timing and claims is None:
        raise InputError("nothing has run here yet: `make repro` runs the whole pipeline")
    return Results(metrics, timing, claims)


def show(found: Results, console: Console) -> None:
    """Prints the numbers, the verdicts, the seconds of each stage, and where the page is."""
    alone = [(source, content) for source, content in found.metrics if source.study != METHODS]
    methods = [(source, content) for source, content in found.metrics if source.study == METHODS]
    if alone:
        console.print(_numbers(alone))
    if methods:
        console.print(_comparison(methods))
    if found.claims is not None:
        console.print(_verdicts([measurements.verdict(claim) for claim in found.claims]))
    if found.timing:
        console.print(_times(found.timing))
    if PAGE.exists():
        console.print(f"the report: {PAGE}", markup=False, soft_wrap=True)
    else:
        console.print("the report page is not built yet: `dvc repro report` builds it", markup=False, soft_wrap=True)


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)


def _numbers(metrics: Sequence[tuple[Source, dict]]) -> Table:
    table = _table("Measured")
    table.add_column("", no_wrap=True)
    table.add_column("measure")
    for name in ("value", "interval"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("for comparison", style="dim")
    for source, content in metrics:
        for position, row in enumerate(measurements.rows(content)):
            name = source.title if position == 0 else ""
            reference = f"{row.reference_name} {row.reference}" if row.reference else ""
            table.add_row(*map(escape, (name, row.name, row.value, row.interval, reference)))
        table.add_section()
    return table


def _comparison(metrics: Sequence[tuple[Source, dict]]) -> Table:
    """A row for each method; its kNN accuracy with the interval and that of an untrained encoder."""
    table = _table("SimSiam, its ablations and rivals")
    table.add_column("method", no_wrap=True)
    for key, name in COMPARED.items():
        table.add_column(name, justify="right", no_wrap=key != "collapsed")
        if key == "knn_accuracy":
            table.add_column("interval", justify="right", no_wrap=True)
            table.add_column("untrained", justify="right", no_wrap=True, style="dim")
    for source, content in metrics:
        found = {row.key: row for row in measurements.rows(content)}
        cells = []
        for key in COMPARED:
            row = found.get(key)
            cells.append(measurements.collapse(content) or "–" if key == "collapsed" else row.value if row else "–")
            if key == "knn_accuracy":
                cells += [row.interval, row.reference] if row else ["", ""]
        table.add_row(*map(escape, (source.title, *cells)))
    return table


def _verdicts(verdicts: Sequence[Verdict]) -> Table:
    words = [one.verdict for one in verdicts]
    counts = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))
    table = _table(f"Verdicts on the report's claims: {counts}")
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


def _times(timing: Sequence[tuple[Source, dict]]) -> Table:
    table = _table("Training time by stage")
    table.add_column("stage", no_wrap=True)
    for name in ("training", "seconds an epoch", "images a second"):
        table.add_column(name, justify="right")
    for source, content in timing:
        table.add_row(
            escape(source.trained_by),
            measurements.duration(content.get("seconds_total", 0)),
            measurements.written(content.get("seconds_per_epoch"), ",.2f"),
            measurements.written(content.get("images_per_second"), ",.0f"),
        )
    total = sum(content.get("seconds_total", 0) for _, content in timing)
    table.add_section()
    table.add_row("all", measurements.duration(total), "", "")
    return table
