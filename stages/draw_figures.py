"""Stage `figures`: every figure of the studies under its number, and the curves of all variants in one table."""

from pathlib import Path

import pandas as pd

from triptych.core.errors import one_line_errors
from triptych.core.files import write_text
from triptych.machine.processes import stage_clock
from triptych.report import overview
from triptych.report.drawing import style
from triptych.report.reader import Results, UnmeasuredError
from triptych.ssl.words.runs import history
from triptych.ssl.words.variants import variants
from triptych.studies import figures

FOLDER, CURVES = Path("plots/figures"), Path("plots/curves/ssl.csv")


def main() -> None:
    """Draws every figure for which this run has what it shows; says which it has not."""
    results = Results()
    style.apply()
    for figure in figures():
        try:
            figure.draw(figure.path(FOLDER), results)
        except UnmeasuredError as gap:
            print(f"figure {figure.number} is left out: {gap}")
    overview.draw(FOLDER / overview.PATH, results)
    # `dvc plots show` draws this table, so that it needs no line for each variant.
    curves = pd.concat([history(results, name) for name in variants(results.params)], ignore_index=True)
    write_text(CURVES, curves.to_csv(index=False))


if __name__ == "__main__":
    with one_line_errors(), stage_clock("figures"):
        main()
