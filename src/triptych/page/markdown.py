"""Tables of Markdown: the headline numbers, the verdicts of several runs side by side, and where the time went."""

from collections.abc import Mapping

from triptych.core.errors import InputError
from triptych.page.tables import Row, comparison, rows
from triptych.page.time_spent import COLUMNS, time_spent
from triptych.page.verdicts import Verdict, verdict
from triptych.report.reader import Results
from triptych.report.record import Study
from triptych.studies import STUDIES

HEADING = "| model | measure | value | interval | file and key |\n|---|---|---|---|---|"


def results_table(results: Results) -> str:
    """A row for each headline number that has been measured: words, value and interval, and where it lies.

    A study that compares its models has a table of its own, with a row for each of them.
    """
    alone = [line for study in STUDIES if not study.compares for line in _one_by_one(study, results)]
    beside = ["\n".join(_side_by_side(study, results)) for study in STUDIES if study.compares]
    return "\n\n".join(["\n".join([HEADING, *alone]), *filter(None, beside)]) + "\n"


def verdicts_table(runs: Mapping[str, Results]) -> str:
    """A row for each claim, with the verdict of each of the named runs, its number and interval, if it has them.

    Raises:
        InputError: a run has no claims, or none that can be read.
    """
    found = {name: {record["id"]: verdict(record) for record in run.claims()} for name, run in runs.items()}
    claims = {one.id: one for of_run in found.values() for one in of_run.values()}
    lines = [_line("the report says", *found), f"|{'---|' * (len(found) + 1)}"]
    for key, claim in claims.items():
        lines.append(_line(claim.says or claim.claim, *(_verdict(of_run.get(key)) for of_run in found.values())))
    return "\n".join(lines) + "\n"


def time_table(results: Results) -> str:
    """Where the time went: a row for each stage, the sums and shares, and a sentence with the time by the clock.

    Raises:
        InputError: no stage has left its clock, or a file is damaged.
    """
    spent = time_spent(results)
    if spent is None:
        raise InputError(
            f"{results.root / 'metrics/clock'}: no stage has left its time there; `dvc repro` runs them all"
        )
    lines = [_line(*COLUMNS), f"|---|{'---:|' * (len(COLUMNS) - 1)}"]
    lines += [_line(*cells) for cells in (*spent.body, *spent.foot)]
    return "\n".join(lines) + f"\n\n{spent.sentence}\n"


def _verdict(one: Verdict | None) -> str:
    if one is None:
        return ""
    number = f"{one.measured} ({one.interval})" if one.interval else one.measured
    return f"**{one.verdict}**, {number}" if number else f"**{one.verdict}**"


def _one_by_one(study: Study, results: Results) -> list[str]:
    lines = []
    for part in study.parts(results.params):
        shown = rows(study, results.metrics(part.name)) if results.has(part.metrics) else []
        for row in shown:
            if any(metric.key == row.key and metric.headline for metric in study.metrics):
                where = f"`{part.metrics}` `{row.key}`"
                lines.append(_line(part.title, f"{row.name}{_reference(row)}", row.value, row.interval, where))
    return lines


def _side_by_side(study: Study, results: Results) -> list[str]:
    measured = [(part, results.metrics(part.name)) for part in study.parts(results.params) if results.has(part.metrics)]
    if not measured:
        return []
    columns, compared = comparison(study, measured)
    chosen = [number for number, column in enumerate(columns) if column.short]
    names = [columns[number].short for number in chosen]
    lines = [_line("model", *names, "file"), f"|{'---|' * (len(names) + 2)}"]
    for one in compared:
        cells = [_value(one.cells[number]) for number in chosen]
        lines.append(_line(one.part.title, *cells, f"`{one.part.metrics}`"))
    return lines


def _value(row: Row | None) -> str:
    if row is None:
        return ""
    return f"{row.value} ({row.interval})" if row.interval else row.value


def _reference(row: Row) -> str:
    return f" ({row.reference_name}: {row.reference})" if row.reference else ""


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
