"""The DDPM's figures of samplers and guidance, and what their sentences say of ties."""

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
    """What sentences are made of, in a folder with the rows of the table of samplers."""
    (root / "metrics/timing/sample").mkdir(parents=True)
    (root / "plots/ddpm").mkdir(parents=True)
    (root / "metrics/ddpm.json").write_text(json.dumps(DDPM))
    (root / "metrics/vae.json").write_text(json.dumps(VAE))
    rows = [{"sampler": name, "steps": 20, "seconds_per_image": 0.03} for name in ("ancestral", "ddim", "dpm_solver")]
    (root / "metrics/timing/sample/ddpm.json").write_text(json.dumps({"sampling": rows}))
    (root / "plots/ddpm/sampling.csv").write_text(SAMPLING_HEAD + sampling)
    (root / "plots/ddpm/guidance.csv").write_text(GUIDANCE)
    (root / "params.yaml").write_text(yaml.safe_dump({"ddpm": {"training": {"epochs": 14}}, "ssl": {"variants": {}}}))
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


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            FARTHER + ANCESTRAL,
            "ancestral in 20 steps comes nearest to the test images, at a Fréchet distance of 4.00; no",
        ),
        (TIED + ANCESTRAL + FARTHER, "tied with it, as intervals overlap, are ddim in 20; all others are farther."),
        (TIED + ANCESTRAL, "tied with it, as intervals overlap, are ddim in 20; so nothing here ranks the samplers."),
    ],
)
def test_samplers_whose_intervals_overlap_are_said_to_be_tied(rows: str, said: str, tmp_path: Path):
    sentence = facts_in(tmp_path, rows).sentence(FIGURES[54])
    assert said in plain(sentence) and plain(sentence).startswith("With 1,000 samples each")
    assert sources(sentence) == {"plots/ddpm/sampling.csv": "evaluate_ddpm"}


def test_without_samplers_to_compare_nothing_is_said(tmp_path: Path):
    assert facts_in(tmp_path, "").sentence(FIGURES[54]) == []


def test_guided_numbers_stand_beside_those_without_guidance(tmp_path: Path):
    facts = facts_in(tmp_path, TIED)
    said = plain(facts.sentence(FIGURES[64]))
    assert "epoch 5 with weight 2," in said and "2.22 (2.00 to 2.40) instead of 4.05" in said
    assert "0.73 as sharp as real images, those without guidance 0.47" in plain(facts.sentence(FIGURES[65]))


def test_the_overview_says_what_buys_what(tmp_path: Path):
    facts = facts_in(tmp_path, TIED)
    said = plain(facts.sentence(FIGURES[66])).replace("\xa0", " ")
    assert "in 5.1 % from N(0, I) and in 71.1 % from the fitted prior: the prior made them unreadable." in said
    assert "from 42.0 % to 65.8 %" in said and "have 0.31 of real images'" in said
    assert "37.0 % of them lie among real images, where of further real ones 95.0 % do." in said
    unsure = FITTED | {"intervals": FITTED["intervals"] | {"recognisability": {"low": 0.05, "high": 0.8}}}
    (tmp_path / "metrics/vae.json").write_text(json.dumps(VAE | {"fitted_prior": unsure}))
    again = Facts(Results(tmp_path), METRICS, facts.writers)
    assert "made them unreadable" not in plain(again.sentence(FIGURES[66]))


@pytest.mark.parametrize("number", [54, 64, 65, 66])
def test_figures_are_drawn(number: int, tmp_path: Path):
    facts = facts_in(tmp_path, ANCESTRAL + TIED + FARTHER)
    FIGURES[number].draw(tmp_path / "figure.png", facts.results)
    with Image.open(tmp_path / "figure.png") as image:
        assert min(image.size) >= 200
        low, high = image.convert("L").getextrema()
        assert high - low > 100
