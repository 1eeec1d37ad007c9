"""The README's numbers are those of the committed run."""

from pathlib import Path

from triptych.report.markdown import HEADING, results_table, time_table
from triptych.results.reader import Results

ROOT = Path(__file__).parents[2]


def test_the_table_of_results_is_that_of_the_committed_run():
    """`triptych report --markdown` prints it."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.split("<!-- results")[1].split("-->", 1)[1].split("<!-- end of results -->")[0]
    assert section.strip() == results_table(Results(ROOT)).strip()


def test_the_table_of_time_is_that_of_the_committed_run():
    """`triptych report --time` prints it."""
    page = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    section = page.split("<!-- time")[1].split("-->", 1)[1].split("<!-- end of time -->")[0]
    assert section.strip() == time_table(Results(ROOT)).strip()


def test_every_model_has_a_row_that_names_its_file():
    table = results_table(Results(ROOT))
    assert table.startswith(HEADING)
    for name in ("classifier", "vae", "ddpm", "ssl/simsiam", "ssl/no_predictor"):
        assert f"`metrics/{name}.json`" in table, name
