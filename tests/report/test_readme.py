"""The README's numbers are those of the committed run."""

import re
from pathlib import Path

from triptych.results.reader import Results
from triptych.studies.every import METRICS, STUDIES

ROOT = Path(__file__).parents[2]
RESULTS = Results(ROOT)
README = (ROOT / "README.md").read_text(encoding="utf-8")
ROW = re.compile(
    r"^\| (?P<what>[^|]+) \| (?P<value>[^|]+) \| `metrics/(?P<name>[\w/]+)\.json` `(?P<key>[\w.]+)` \|$", re.MULTILINE
)


def rows() -> list[dict[str, str]]:
    """The rows of the table of results.

    The assertion is there because a row that the pattern does not match would go unchecked.
    """
    section = README.split("<!-- results")[1].split("<!-- end of results -->")[0]
    found = [match.groupdict() for match in ROW.finditer(section)]
    table = [line for line in section.splitlines() if line.startswith("|")]
    assert len(found) == len(table) - 2 >= 8  # all but the heading and its rule
    return found


def test_each_number_is_that_of_the_metrics_file_at_the_digits_shown():
    for row in rows():
        value, shown = RESULTS.metrics(row["name"]).number(row["key"]), row["value"].strip()
        digits = len(shown.rstrip(" %").partition(".")[2])
        expected = f"{value:.{digits}%}".replace("%", " %") if shown.endswith("%") else f"{value:,.{digits}f}"
        assert shown.replace("−", "-") == expected, row


def test_the_table_holds_known_numbers_of_every_model():
    named = {row["name"] for row in rows()}
    assert [row["key"] for row in rows() if row["key"] not in METRICS] == []
    models = [part.name for study in STUDIES for part in study.parts(RESULTS.params)]
    assert [model for model in models if model not in named] == []
