"""docs/real: the archived run on the report's own data, and its page."""

import json
from pathlib import Path

from quotes import runs_by_name

from benchmarks.pages import read_section
from triptych.page.build import is_archive
from triptych.page.tables import results_markdown
from triptych.page.verdicts import verdicts_table
from triptych.report.reader import Results

ROOT = Path(__file__).parents[2]
REAL = ROOT / "docs" / "real"
RIVALS = REAL / "rivals"  # a second run, of more encoders
PAGE = (REAL / "README.md").read_text(encoding="utf-8")


def test_the_table_of_results_is_that_of_the_kept_run():
    assert read_section(REAL / "README.md", "results") == results_markdown(Results(REAL)).strip()


def test_the_table_of_verdicts_is_that_of_both_runs():
    assert read_section(REAL / "README.md", "verdicts") == verdicts_table(runs_by_name()).markdown()


def test_the_page_discusses_every_claim_whose_verdicts_differ():
    here, *others = ({one["id"]: one for one in run.claims()} for run in runs_by_name().values())
    for there in others:
        measured = [name for name, one in there.items() if one["measured"] is not None]
        differing = [name for name in measured if here[name]["verdict"] != there[name]["verdict"]]
        assert not [name for name in differing if f"`{name}`" not in PAGE]


def test_every_claim_is_measured_by_one_of_the_two_runs():
    """Every claim of the report can then be quoted for the report's own data."""
    measured = [one["id"] for root in (REAL, RIVALS) for one in Results(root).claims() if one["measured"] is not None]
    assert set(measured) == {one["id"] for one in Results(ROOT).claims() if one["kind"] != "beyond"}


def test_both_runs_share_the_results_of_the_first_two_studies():
    for name in ("classifier", "vae", "ddpm", "timing/vae", "timing/ddpm"):
        assert (RIVALS / f"metrics/{name}.json").read_text() == (REAL / f"metrics/{name}.json").read_text()


def test_the_page_names_data_and_code():
    assert "first 16,419 of 26,032 official test digits" in PAGE and "CIFAR-10 (JPEG)" in PAGE
    for folder in (REAL, RIVALS):
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        assert run["commit"][:7] in PAGE and run["versions"]["torch"].partition("+")[0] in PAGE
    cards = json.loads((REAL / "metrics" / "data.json").read_text(encoding="utf-8"))
    assert (cards["generative"]["train_images"], cards["generative"]["test_images"]) == (73_257, 16_419)
    assert (cards["ssl"]["train_images"], cards["ssl"]["test_images"]) == (50_000, 10_000)


def test_both_folders_are_recognised_as_archives():
    assert is_archive(REAL) and is_archive(RIVALS) and not is_archive(ROOT / "docs")


def test_the_archive_has_no_pictures_of_the_data_and_is_small():
    files = [path for path in REAL.rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix in (".png", ".npz", ".npy", ".safetensors")]
    assert sum(path.stat().st_size for path in files) < 5_000_000
