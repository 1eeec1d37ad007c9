"""docs/real: the run on the report's own data, and what its page says of it."""

import json
from pathlib import Path

from triptych.report.markdown import results_table, verdicts_table
from triptych.results.reader import Results

ROOT = Path(__file__).parents[2]
REAL = ROOT / "docs" / "real"
PAGE = (REAL / "README.md").read_text(encoding="utf-8")


def section(name: str) -> str:
    """What stands between the marks of a table."""
    return PAGE.split(f"<!-- {name}")[1].split("-->", 1)[1].split(f"<!-- end of {name} -->")[0].strip()


def test_the_table_of_results_is_that_of_the_kept_run():
    assert section("results") == results_table(Results(REAL)).strip()


def test_the_table_of_verdicts_is_that_of_both_runs():
    """`triptych report --beside docs/real` prints it."""
    assert section("verdicts") == verdicts_table({"default": Results(ROOT), "real": Results(REAL)}).strip()


def test_every_claim_whose_verdicts_differ_is_spoken_of():
    here, there = ({one["id"]: one["verdict"] for one in Results(root).claims()} for root in (ROOT, REAL))
    differing = [name for name in here if here[name] != there[name]]
    assert not [name for name in differing if f"`{name}`" not in PAGE]


def test_it_says_of_what_data_on_what_machine_and_by_what_code():
    run = json.loads((REAL / "run.json").read_text(encoding="utf-8"))
    assert "first 16,419 of 26,032 official test digits" in PAGE and "CIFAR-10 (JPEG)" in PAGE
    assert run["commit"][:7] in PAGE and run["versions"]["torch"].partition("+")[0] in PAGE
    cards = json.loads((REAL / "metrics" / "data.json").read_text(encoding="utf-8"))
    assert (cards["generative"]["train_images"], cards["generative"]["test_images"]) == (73_257, 16_419)
    assert (cards["ssl"]["train_images"], cards["ssl"]["test_images"]) == (50_000, 10_000)


def test_it_holds_no_picture_of_much_data_and_is_small():
    files = [path for path in REAL.rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix in (".png", ".npz", ".npy", ".safetensors")]
    assert sum(path.stat().st_size for path in files) < 5_000_000
