"""Compare SimSiam with and without stop-gradient in a table, a verdict and a chart."""

from pathlib import Path

from triptych.core.errors import InputError
from triptych.page.tables import Table, compared_tables
from triptych.report.reader import Results, UnmeasuredError
from triptych.ssl.words.variants import SIMSIAM

ABLATION = "no_stop_gradient"
PICTURE = Path("plots/collapse.png")
STAGES = f"evaluate_ssl@{SIMSIAM} evaluate_ssl@{ABLATION}"


def compare(results: Results) -> tuple[Table, str]:
    """Draw training curves to plots/collapse.png, and return a table of metrics and a verdict on both encoders.

    Raises InputError if SimSiam, or SimSiam without stop-gradient, has not been trained and evaluated.
    """
    from triptych.ssl.words.figures import LOSS, RANK, STD, draw_course, load

    missing = [name for name in (SIMSIAM, ABLATION) if not results.has(f"metrics/ssl/{name}.json")]
    if missing:
        raise InputError(f"no results of {' and '.join(missing)} yet; run `triptych repro {STAGES}`")
    try:
        runs = load(results, (SIMSIAM, ABLATION), need=("collapsed",))
    except UnmeasuredError as error:
        raise InputError(str(error)) from None
    draw_course(results.root / PICTURE, results, (LOSS, STD, RANK), runs)
    table = compared_tables(results, {f"ssl/{run.name}" for run in runs})[0].without_last_column()
    return table, verdict(*(run.collapsed for run in runs))


def verdict(with_stop_gradient: bool, without: bool) -> str:
    """Return a one-sentence verdict. The arguments say whether embeddings collapsed with and without stop-gradient."""
    if with_stop_gradient:
        return "SimSiam itself collapsed in this run, so the comparison does not show what stop-gradient does."
    if without:
        return "Without stop-gradient the embeddings collapse; with it they do not."
    return "Neither encoder collapsed in this run."
