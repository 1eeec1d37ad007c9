"""The whole pipeline, from a user's file to the page, on a dataset with two test images of one class."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from scripts import run_script

from triptych.cli.profiles import merged

ROOT = Path(__file__).parents[2]
VARIANTS = ("simsiam", "no_predictor")
STAGES = (
    "prepare", "train_classifier", "evaluate_classifier", "train_vae", "train_ddpm", "sample vae", "sample ddpm",
    "evaluate_vae", "evaluate_ddpm", *(f"train_ssl {name}" for name in VARIANTS), "evaluate_ssl_baselines",
    *(f"evaluate_ssl {name}" for name in VARIANTS), "decide_claims", "draw_figures", "build_report",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run all stages and return the project folder."""
    folder = tmp_path_factory.mktemp("small")
    stream = np.random.default_rng(0)
    images = {f"x_{split}": stream.integers(0, 256, (count, 32, 32, 3), np.uint8) for split, count in SIZES.items()}
    labels = {f"y_{split}": np.zeros(count, np.int64) for split, count in SIZES.items()}
    np.savez(folder / "own.npz", **images, **labels)
    (folder / "params.yaml").write_text(yaml.safe_dump(params()))
    for stage in STAGES:
        script, *argument = stage.split()
        done = run_script(ROOT / "stages" / f"{script}.py", *argument, folder=folder)
        assert done.returncode == 0, f"{stage}: {done.stderr}"
    return folder


SIZES = {"train": 130, "test": 2}  # one batch of the judge, and two test images


def params() -> dict:
    """Return the smoke profile for the file, with two variants."""
    tree = merged("smoke", ROOT)
    tree["runtime"] |= {"threads": 1, "device": "cpu", "precision": "float32"}
    tree["data"] = {study: {"name": "npz", "root": "own.npz"} for study in ("generative", "ssl")}
    tree["vae"]["network"]["channels"] = [8, 8, 16, 16]
    tree["ssl"]["variants"] = {name: tree["ssl"]["variants"][name] for name in VARIANTS}
    for study in ("vae", "ddpm"):
        tree["sampling"][study]["samples"] = 100
    return tree


def read(path: Path) -> dict | list:
    def refuse(name: str) -> None:
        raise AssertionError(f"{path} holds {name}")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_every_file_holds_numbers_or_a_reason(folder):
    found = {path.relative_to(folder / "metrics").as_posix(): read(path) for path in folder.glob("metrics/**/*.json")}
    assert found["classifier.json"]["left_out"].keys() == {"test_accuracy", "test_recognisability"}
    assert {"recognisability", "precision", "top_latents_share"} <= found["vae.json"]["left_out"].keys()
    assert {"recognisability", "half_restored_t"} <= found["ddpm.json"]["left_out"].keys()
    assert {"knn_accuracy", "collapsed"} <= found["ssl/simsiam.json"]["left_out"].keys()
    for name, key in (("vae", "iwae_bpd"), ("ddpm", "vlb_bpd"), ("ssl/simsiam", "embedding_std")):
        assert key in found[f"{name}.json"]


def test_claims_that_need_what_is_left_out_are_not_measured_and_say_why(folder):
    verdicts = {record["id"]: record for record in read(folder / "metrics/claims.json")}
    for claim in ("vae-blurry", "vae-latents", "ddpm-fails-120", "ddpm-beats-vae", "predictor"):
        assert verdicts[claim]["verdict"] == "not measured", claim
        assert "all images are of one class" in verdicts[claim]["finding"], claim
    assert "needs at least 2 paths" in verdicts["vae-interpolation"]["finding"]


def test_figures_and_page_show_the_rest_and_the_page_says_what_is_left_out(folder):
    drawn = {int(path.name[3:5]) for path in folder.glob("plots/figures/fig*.png")}
    assert {1, 2, 7, 12, 27, 28, 36, 38, 39, 50, 55, 63} <= drawn and not {17, 46} & drawn
    page = (folder / "plots/report.html").read_text()
    assert "not measured" in page and "all images are of one class, but two are needed" in page
