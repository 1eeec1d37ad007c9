"""Figures of samplers, guidance and both models, and their result lines."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from triptych.core.files import write_arrays
from triptych.report.reader import Results
from triptych.report.sentences import Facts, plain, sources
from triptych.studies import METRICS, STUDIES, writers

FIGURES = {figure.number: figure for study in STUDIES for figure in study.figures}
GUIDED = {
    "weight": 2.0,
    "epoch": 5,
    "frechet_distance": 2.22,
    "recognisability": 0.658,
    "sharpness_ratio": 0.73,
    "precision": 0.37,
    "recall": 0.93,
    "intervals": {"frechet_distance": {"low": 2.0, "high": 2.4}, "precision": {"low": 0.35, "high": 0.39}},
}
FITTED = {
    "components": 100,
    "frechet_distance": 4.07,
    "recognisability": 0.711,
    "sharpness_ratio": 0.31,
    "intervals": {"recognisability": {"low": 0.69, "high": 0.73}, "sharpness_ratio": {"low": 0.30, "high": 0.32}},
}
VAE = {
    "frechet_distance": 15.6,
    "recognisability": 0.051,
    "reconstruction_same_class": 0.865,
    "fitted_prior": FITTED,
    "intervals": {"recognisability": {"low": 0.04, "high": 0.06}},
}
DDPM = {
    "frechet_distance": 4.05,
    "frechet_floor": 0.1,
    "recognisability": 0.42,
    "real_recognisability": 0.997,
    "sharpness_ratio": 0.47,
    "precision": 0.25,
    "recall": 0.81,
    "real_precision": 0.95,
    "guided": GUIDED,
}
SAMPLING_HEAD = "sampler,steps,evaluations,samples,frechet_distance,low,high,recognisability\n"
GUIDANCE = """epoch,weight,samples,frechet_distance,low,high,recognisability,recognisability_low,recognisability_high
5,1.0,1000,4.05,3.8,4.3,0.42,0.39,0.45
5,2.0,1000,2.22,2.0,2.4,0.658,0.63,0.69
5,3.0,1000,5.20,4.9,5.5,0.748,0.72,0.77
7,1.0,1000,4.05,3.8,4.3,0.42,0.39,0.45
7,2.0,1000,2.53,2.3,2.7,0.632,0.60,0.66
7,3.0,1000,2.41,2.2,2.6,0.716,0.69,0.74
"""


def facts_in(root: Path, sampling: str) -> Facts:
    """Write the files that figures and sentences read, with these rows in the table of samplers."""
    (root / "metrics/timing/sample").mkdir(parents=True)
    (root / "plots/ddpm").mkdir(parents=True)
    (root / "metrics/ddpm.json").write_text(json.dumps(DDPM))
    (root / "metrics/vae.json").write_text(json.dumps(VAE))
    rows = [{"sampler": name, "steps": 20, "seconds_per_image": 0.03} for name in ("ancestral", "ddim", "dpm_solver")]
    (root / "metrics/timing/sample/ddpm.json").write_text(json.dumps({"sampling": rows}))
    (root / "plots/ddpm/sampling.csv").write_text(SAMPLING_HEAD + sampling)
    (root / "plots/ddpm/guidance.csv").write_text(GUIDANCE)
    training = {"vae": {"training": {"epochs": 15, "snapshot_epochs": [3, 15]}}, "ssl": {"variants": {}}}
    (root / "params.yaml").write_text(yaml.safe_dump(training))
    images = np.random.default_rng(0).integers(0, 256, (64, 3, 32, 32)).astype(np.uint8)
    guidance = {"guided": 255 - images, "guidance_weight": np.array(2.0), "guidance_epoch": np.array(5)}
    write_arrays(root / "samples/ddpm/images.npz", {"samples": images, **guidance})
    of_vae = ("samples", "fitted_samples", "originals")
    write_arrays(
        root / "samples/vae/images.npz",
        dict.fromkeys(of_vae, images) | {"epoch_reconstructions": np.stack([images, images])},
    )
    results = Results(root)
    return Facts(results, METRICS, writers(results.params))


ANCESTRAL = "ancestral,20,20,1000,4.0,3.7,4.3,0.4\n"
TIED = "ddim,20,20,1000,4.2,3.9,4.5,0.4\n"
FARTHER = "dpm_solver,20,20,1000,6.0,5.5,6.5,0.4\n"


@pytest.mark.parametrize(("rows", "tied"), [(FARTHER, "0 of 1"), (TIED + FARTHER, "1 of 2"), (TIED, "1 of 1")])
def test_samplers_whose_intervals_overlap_with_that_of_the_best_are_counted(rows: str, tied: str, tmp_path: Path):
    sentence = facts_in(tmp_path, rows + ANCESTRAL).sentence(FIGURES[54])
    assert plain(sentence) == (
        f"Lowest Fréchet distance: 4.00, ancestral in 20 steps; the intervals of {tied} others overlap with its own."
    )
    assert sources(sentence) == {"plots/ddpm/sampling.csv": "evaluate_ddpm"}


def test_without_samplers_to_compare_nothing_is_said(tmp_path: Path):
    assert facts_in(tmp_path, "").sentence(FIGURES[54]) == []


def test_result_lines_compare_guided_samples_with_others(tmp_path: Path):
    facts = facts_in(tmp_path, TIED)
    said = plain(facts.sentence(FIGURES[64]))
    assert "weight 2 and the checkpoint of epoch 5" in said and "2.22 (2.00 to 2.40) instead of 4.05" in said
    assert "sharpness ratio is 0.73 instead of 0.47" in plain(facts.sentence(FIGURES[65]))
    assert plain(facts.sentence(FIGURES[66])).endswith("DDPM 4.05, with guidance 2.22 (2.00 to 2.40).")


@pytest.mark.parametrize("number", [54, 64, 65, 66])
def test_figures_are_drawn(number: int, tmp_path: Path):
    facts = facts_in(tmp_path, ANCESTRAL + TIED + FARTHER)
    FIGURES[number].draw(tmp_path / "figure.png", facts.results)
    with Image.open(tmp_path / "figure.png") as image:
        assert min(image.size) >= 200
        low, high = image.convert("L").getextrema()
        assert high - low > 100
