"""The results so far on the terminal, and as one JSON document."""

import os
import sys

from rich import box, table
from rich.console import Console
from rich.markup import escape

from triptych.core.errors import InputError
from triptych.page.tables import Table, compared_tables, left_out, measured, models_table, training_table, trainings
from triptych.page.verdicts import Verdict, counts, verdict
from triptych.report.reader import CLAIMS, Results

PAGE = "plots/report.html"
# A shape and a colour for each verdict, so that colour is not the only sign.
MARKS = {"reproduced": "[green]●[/]", "not reproduced": "[red]◆[/]", "inconclusive": "[yellow]○[/]"}
WIDTH = 100  # columns, where the output is no terminal


def console() -> Console:
    """Return a console as wide as the terminal, or WIDTH columns without one."""
    has_width = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if has_width else WIDTH)


def document(results: Results) -> dict:
    """Return all results for scripts, each under the path of its file."""
    metrics = {part.metrics: metrics.values for _, part, metrics in measured(results)}
    timing = {part.timing: times for part, times in trainings(results)}
    claims = results.claims() if results.has(CLAIMS) else None
    if not metrics and not timing and claims is None:
        raise InputError("nothing has run here yet: `make repro` runs the whole pipeline")
    return {"metrics": metrics, "timing": timing, "claims": claims, "page": PAGE if results.has(PAGE) else None}


def show(results: Results, console: Console) -> None:
    """Print numbers, verdicts, training times and the path of the page."""
    found = document(results)
    if (models := models_table(results)).rows:
        console.print(_table(models.without("file and key")))
    for compared in compared_tables(results):
        console.print(_table(compared.without("file")))
    missing: dict[str, list[str]] = {}
    for _, part, metrics in measured(results):
        for text in left_out(metrics):
            missing.setdefault(text, []).append(part.title)
    for text, titles in missing.items():
        console.print(f"not measured for {', '.join(titles)}: {text}", markup=False, soft_wrap=True)
    if found["claims"] is not None:
        console.print(_verdicts([verdict(record) for record in found["claims"]]))
    if (training := training_table(results)).rows:
        console.print(_table(training))
    text = f"report: {PAGE}" if found["page"] else "the report page is not built yet: run `dvc repro report`"
    console.print(text, markup=False, soft_wrap=True)


def _empty(title: str) -> table.Table:
    return table.Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)


def _cell(text: str) -> str:
    """Put the interval below its number, which keeps columns narrow."""
    return escape(text.replace(" (", "\n(") if " to " in text else text)


def _table(content: Table) -> table.Table:
    shown = _empty(content.title)
    for index, column in enumerate(content.columns):
        shown.add_column(column, justify="left" if index < content.text_columns else "right", overflow="fold")
    before = ""
    for first, *others in (*content.rows, *content.totals):
        shown.add_row(*map(_cell, ("" if first == before else first, *others)))
        before = first
    return shown


def _verdicts(verdicts: list[Verdict]) -> table.Table:
    totals = ", ".join(f"{count} {answer}" for answer, count in counts(verdicts).items())
    shown = _empty(f"Verdicts on the report's claims: {totals}")
    shown.add_column("verdict")
    shown.add_column("claim and conditions", ratio=1)
    shown.add_column("measured")
    shown.add_column("threshold")
    for one in verdicts:
        # Older runs have no conditions; their claims show the deciding number.
        numbers = ("", "") if one.conditions else (_cell(one.number), one.threshold)
        answer = f"{MARKS.get(one.answer, '·')} {escape(one.answer)}"
        shown.add_row(answer, f"[bold]{escape(one.statement)}[/]", *numbers)
        for condition in one.conditions:
            answer, statement = escape(f"  {condition.answer}"), escape(condition.statement)
            shown.add_row(answer, statement, _cell(condition.number), condition.threshold)
        shown.add_section()
    return shown
