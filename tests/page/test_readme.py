"""The generated tables of README and docs are those of the committed run."""

from pathlib import Path

from quotes import rivals_markdown

from benchmarks.pages import read_section
from triptych.page.tables import results_markdown, time_markdown
from triptych.page.verdicts import conditions_table, read_verdicts
from triptych.report.reader import Results

ROOT = Path(__file__).parents[2]


def test_the_table_of_results_is_that_of_the_committed_run():
    """`triptych report --markdown` prints it."""
    assert read_section(ROOT / "README.md", "results") == results_markdown(Results(ROOT)).strip()
    conditions = conditions_table(read_verdicts(Results(ROOT)))
    assert read_section(ROOT / "README.md", "conditions") == conditions.markdown().strip()


def test_the_table_of_the_rivals_is_that_of_the_archived_run():
    assert read_section(ROOT / "README.md", "rivals") == rivals_markdown()


def test_the_table_of_time_is_that_of_the_committed_run():
    """`triptych report --time` prints it."""
    assert read_section(ROOT / "docs/performance.md", "time") == time_markdown(Results(ROOT)).strip()


def test_every_model_has_a_row_that_names_its_file():
    table = results_markdown(Results(ROOT))
    for name in ("classifier", "vae", "ddpm", "ssl/simsiam", "ssl/no_predictor"):
        assert f"`metrics/{name}.json`" in table, name
