"""The headline numbers as a table of Markdown: the README's table of results."""

from triptych.report.tables import rows
from triptych.results.reader import Results
from triptych.studies.every import STUDIES

HEADING = "| model | measure | value | interval | file and key |\n|---|---|---|---|---|"


def results_table(results: Results) -> str:
    """A row for each headline number that has been measured: words, value and interval, and where it lies."""
    lines = [HEADING]
    for study in STUDIES:
        chosen = {metric.key for metric in study.metrics if metric.headline or metric.short}
        for part in study.parts(results.params):
            if not results.has(part.metrics):
                continue
            for row in rows(study, results.metrics(part.name)):
                if row.key in chosen:
                    reference = f" ({row.reference_name}: {row.reference})" if row.reference else ""
                    cells = (
                        part.title,
                        f"{row.name}{reference}",
                        row.value,
                        row.interval,
                        f"`{part.metrics}` `{row.key}`",
                    )
                    lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
