"""The README's numbers are those of the committed run."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
ROW = re.compile(
    r"^\| (?P<what>[^|]+) \| (?P<value>[^|]+) \| `(?P<file>[\w/]+\.json)` `(?P<key>[\w.]+)` \|$", re.MULTILINE
)


def _rows() -> list[dict[str, str]]:
    section = README.split("<!-- results")[1].split("<!-- end of results -->")[0]
    return [match.groupdict() for match in ROW.finditer(section)]


def test_results_table_has_rows() -> None:
    """The parser below would pass on a table that it cannot read."""
    section = README.split("<!-- results")[1].split("<!-- end of results -->")[0]
    table = [line for line in section.splitlines() if line.startswith("|")]
    assert len(_rows()) == len(table) - 2 >= 8  # all but the heading and its rule


@pytest.mark.parametrize("row", _rows(), ids=lambda row: f"{row['file']}:{row['key']}")
def test_number_is_that_of_the_metrics_file(row: dict[str, str]) -> None:
    """Each value equals the metric that its row names, at the digits shown."""
    value = json.loads((ROOT / row["file"]).read_text())
    for key in row["key"].split("."):
        value = value[key]
    shown = row["value"].strip()
    digits = len(shown.rstrip(" %").partition(".")[2])
    expected = f"{value:.{digits}%}".replace("%", " %") if shown.endswith("%") else f"{value:,.{digits}f}"
    assert shown == expected
