"""The results so far as tables on the terminal, and as one JSON document."""

from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from triptych.errors import InputError
from triptych.figures import measurements
from triptych.figures.measurements import Source
from triptych.params.base import read_yaml

CLAIMS = Path("metrics/claims.json")
PAGE = Path("plots/report.html")
COLOURS = {"reproduced": "green", "not reproduced": "red", "inconclusive": "yellow"}


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
    if found.metrics:
        console.print(_numbers(found.metrics))
    if found.claims is not None:
        console.print(_verdicts(found.claims))
    if found.timing:
        console.print(_times(found.timing))
    if PAGE.exists():
        console.print(f"the report: {PAGE}", markup=False, soft_wrap=True)
    else:
        console.print("the report page is not built yet: `dvc repro report` builds it", markup=False, soft_wrap=True)


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)


def _numbers(metrics: list[tuple[Source, dict]]) -> Table:
    table = _table("Measured")
    table.add_column("", no_wrap=True)
    table.add_column("measure")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("interval", justify="right", no_wrap=True)
    for source, content in metrics:
        rows = measurements.rows(content)
        for position, row in enumerate(rows):
            name = source.title if position == 0 else ""
            table.add_row(*map(escape, (name, row.name, row.value, row.interval)))
            if row.reference:
                table.add_row("", escape(f"  {row.reference_name}"), escape(row.reference), "", style="dim")
        table.add_section()
    return table


def _verdicts(claims: list[dict]) -> Table:
    table = _table("Verdicts on the report's claims")
    table.add_column("claim")
    table.add_column("measured")
    table.add_column("interval", justify="right")
    table.add_column("verdict", no_wrap=True)
    for claim in claims:
        verdict = str(claim["verdict"])
        table.add_row(
            escape(str(claim.get("claim", claim.get("id", "")))),
            escape(measurements.written(claim.get("measured"))),
            escape(measurements.written_interval(claim.get("interval"))),
            f"[{COLOURS.get(verdict, 'default')}]{escape(verdict)}[/]",
        )
    return table


def _times(timing: list[tuple[Source, dict]]) -> Table:
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
