"""Numbers that README and docs quote equal those of the files they link to."""

import json
from pathlib import Path

import pytest
from quotes import quotes, wrong

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_number_that_a_page_quotes_is_that_of_the_file_it_names(page):
    assert not [problem for quote in quotes(page) if (problem := wrong(quote))]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    numbers = {
        "right": 0.9448,
        "loss": -0.9163,
        "verdict": "reproduced",
        "part": {"distance": 4.158, "intervals": {"distance": {"low": 3.96, "high": 4.37}}},
        "restoration": [{"t": 30, "same": 0.99}, {"t": 120, "same": 0.5}],
        "intervals": {"right": {"low": 0.941, "high": 0.9481}},
    }
    (tmp_path / "m.json").write_text(json.dumps(numbers), encoding="utf-8")
    return tmp_path / "page.md"


@pytest.mark.parametrize(
    "says",
    [
        "[94.5 %](m.json#right)",
        "[94.48 % (94.1 to 94.8 %)](m.json#right)",
        "[−0.92](m.json#loss) and [-0.916](m.json#loss)",
        "[reproduced](m.json#verdict)",
        "[4.16 (3.96 to 4.37)](m.json#part.distance)",
        "[50 %](m.json#restoration.120.same)",
    ],
)
def test_a_right_quote(page, says):
    page.write_text(f"On digits it is {says}, as seen.", encoding="utf-8")
    assert [wrong(quote) for quote in quotes(page)] and not any(wrong(quote) for quote in quotes(page))


@pytest.mark.parametrize(
    ("says", "problem"),
    [
        ("[94.4 %](m.json#right)", "is 94.5, not 94.4 %"),
        ("[94.5 % (94.1 to 94.9 %)](m.json#right)", "is 94.5, 94.1, 94.8, not"),
        ("[about as many](m.json#right)", "not about as many"),
        ("[inconclusive](m.json#verdict)", "is reproduced, not inconclusive"),
        ("[-0.92 (-1 to 0)](m.json#loss)", "has no interval"),
        ("[50 %](m.json#restoration.60.same)", "has no restoration.60.same"),
        ("[1](other.json#a)", "no such file"),
    ],
)
def test_a_wrong_quote(page, says, problem):
    page.write_text(says, encoding="utf-8")
    [quote] = quotes(page)
    assert problem in wrong(quote)
