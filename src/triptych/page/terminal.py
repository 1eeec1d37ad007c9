"""Print the results of a run on the terminal, or return them as a dict for JSON."""

import os
import sys
from collections import Counter

from rich import box, table
from rich.console import Console
from rich.markup import escape

from triptych.core.errors import InputError
from triptych.page.tables import Table, compared_tables, measured, models_table, training_table, trainings, unmeasured
from triptych.page.verdicts import Verdict, read_verdicts
from triptych.report.reader import CLAIMS, Results

PAGE = "plots/report.html"
# A shape and a colour for each verdict, so that colour is not the only sign.
MARKS = {
    "reproduced": "[green]●[/]",
    "partly reproduced": "[green]◐[/]",
    "not reproduced": "[red]◆[/]",
    "inconclusive": "[yellow]○[/]",
}
GROUPS = {
    "result": "Results that the report measured",
    "argument": "Arguments that the report only makes",
    "beyond": "Claims of newer work",
}
WIDTH = 100  # columns, where the output is no terminal


def document(results: Results) -> dict:
    """Return all results as a dict for JSON: metrics and training times by file, claims, and the path of the page."""
    metrics = {model.metrics: metrics.values for _, model, metrics in measured(results)}
    timing = {model.timing: times for model, times in trainings(results)}
    claims = results.claims() if results.has(CLAIMS) else None
    if not metrics and not timing and claims is None:
        raise InputError("there are no results yet; run the whole pipeline with `make repro`")
    return {"metrics": metrics, "timing": timing, "claims": claims, "page": PAGE if results.has(PAGE) else None}


def show(results: Results) -> None:
    """Print the metrics, the verdicts, the training times and the path of the page."""
    content = document(results)
    console = _console()
    for numbers in (models_table(results), *compared_tables(results)):
        if numbers.rows:
            console.print(_table(numbers.without_last_column()))
    missing: dict[str, list[str]] = {}
    for _, model, metrics in measured(results):
        for text in unmeasured(metrics):
            missing.setdefault(text, []).append(model.title)
    for text, titles in missing.items():
        console.print(f"not measured for {', '.join(titles)}: {text}", markup=False, soft_wrap=True)
    if content["claims"] is not None:
        claims = read_verdicts(results)
        console.print(_verdicts(claims))
        if gaps := [claim.statement for claim in claims if not claim.measured]:
            console.print("\n  ".join(["Not measured in this run:", *gaps]) + "\n", markup=False, soft_wrap=True)
    if (training := training_table(results)).rows:
        console.print(_table(training))
    text = f"report: {PAGE}" if content["page"] else "the report page is not built yet; run `dvc repro report`"
    console.print(text, markup=False, soft_wrap=True)


def show_table(content: Table) -> None:
    """Print a table of results, within the width of the terminal."""
    _console().print(_table(content))


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDTH)


def _empty(title: str) -> table.Table:
    return table.Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )


def _cell(text: str) -> str:
    """Move the interval to a new line below the number, so that the column is narrow."""
    return escape(text.replace(" (", "\n(") if " to " in text else text)


def _table(content: Table) -> table.Table:
    shown = _empty(content.title)
    for index, column in enumerate(content.columns):
        text, cells = index < content.text_columns, [row[index] for row in content.rows]
        whole = any(" to " in cell for cell in cells) or (text and not any(" " in cell for cell in cells))
        shown.add_column(column, justify="left" if text else "right", overflow="fold", no_wrap=whole)
    before = ""
    for first, *others in (*content.rows, *content.totals):
        shown.add_row(*map(_cell, ("" if first == before else first, *others)))
        before = first
    return shown


def _verdicts(claims: list[Verdict]) -> table.Table:
    totals = ", ".join(f"{count} {answer}" for answer, count in Counter(claim.answer for claim in claims).items())
    shown = _empty(f"Verdicts on the report's claims: {totals}")
    for column, ratio in (("verdict", None), ("claim and conditions", 1), ("measured", None), ("threshold", None)):
        shown.add_column(column, ratio=ratio)
    for kind, heading in GROUPS.items():
        group = [claim for claim in claims if claim.kind == kind and claim.measured]
        if group:
            shown.add_row("", f"[italic]{heading}[/]", "", "", end_section=True)
        for claim in group:
            shown.add_row(
                f"{MARKS.get(claim.answer, '·')} {escape(claim.answer)}", f"[bold]{escape(claim.statement)}[/]"
            )
            for condition in claim.conditions:
                statement = condition.statement + (f" ({condition.chance})" if condition.chance else "")
                shown.add_row(f"  {condition.answer}", escape(statement), _cell(condition.text), condition.threshold)
            shown.add_section()
    return shown
