"""The rules for claims, and for each claim a case that is met, one that is not met, and one that is undecided."""

import fnmatch
import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from triptych.core.errors import InputError
from triptych.core.schema import overlaid, validate
from triptych.measures.estimate import Estimate, SeedRange
from triptych.measures.intervals import Resampling
from triptych.measures.power import seeds_to_exclude
from triptych.report.claims import (
    NOT_MEASURED,
    Claim,
    Condition,
    Evidence,
    Fact,
    claim_verdict,
    decide,
    difference,
    number,
    read_claims,
)
from triptych.report.params import ClaimsParams
from triptych.report.reader import Results, UnmeasuredError
from triptych.ssl.words.compared import knn_difference
from triptych.studies import CLAIMS, STUDIES, figures
from triptych.vae.words.claims import random_direction_share

ROOT = Path(__file__).parents[2]
FIGURES = figures()
IDS = [claim.id for claim in CLAIMS]
KEYS = [
    *(
        "id",
        "claim",
        "report_says",
        "kind",
        "figures",
        "statistic",
        "measured",
        "interval",
        "range",
        "threshold",
        "verdict",
    ),
    *("finding", "would_decide", "conditions", "evidence", "sources"),
]
CONDITION_KEYS = ["id", "statement", "measured", "interval", "range", "threshold", "null", "verdict"]
YES, PARTLY, NO, OPEN = "reproduced", "partly reproduced", "not reproduced", "inconclusive"

# The cases below are made for these thresholds; params.yaml has all others.
THRESHOLDS = {
    "vae": {
        "epoch_spread": 0.1,
        "epoch_autocorrelation": 0.7,
        "sharpness": 0.5,
        "recognisability": 0.5,
        "no_difference": 0.1,
    },
    "ddpm": {"same_class": 0.9, "lost": 0.5, "ssim": 0.8, "frechet_difference": 0.0, "recognisability_difference": 0.0},
    "ssl": {"knn_drop": 0.05, "loss_floor": -0.95, "no_difference": 0.01},
}
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
LIMITS = validate(ClaimsParams, overlaid(PARAMS["claims"], THRESHOLDS), "claims", ROOT / "params.yaml")


# --- Evidence from a few numbers ---

# Accuracy of the baselines without training.
BASELINES = {"random_init_knn": 0.15, "pixel_knn": 0.40, "raw_pixel_knn": 0.3}


def measured(**numbers: float | tuple[float, float]) -> dict:
    """Return the content of a metrics file. A pair is a number and half the width of its interval."""
    pairs = {key: number for key, number in numbers.items() if isinstance(number, tuple)}
    return {
        **{key: number[0] if key in pairs else number for key, number in numbers.items()},
        "intervals": {key: {"low": value - half, "high": value + half} for key, (value, half) in pairs.items()},
    }


def vae_numbers(prior: dict | None = None, **numbers: float | tuple[float, float]) -> dict:
    """Return the metrics of the VAE, with changes to those of the fitted prior in `prior`."""
    usual = {
        "sharpness_ratio": (0.2, 0.01),
        "recognisability": (0.1, 0.01),
        "real_recognisability": 0.99,
        "top_latents_share": (0.7, 0.02),
        "top_latents_share_shuffled": 0.42,
        "top_latents_share_rotated": 0.4,
        "top_latents_over_shuffled": (0.28, 0.05),
        "top_latents_over_rotated": (0.3, 0.05),
        "interpolation_smoothness": (1.5, 0.1),
        "crossfade_smoothness": (1.8, 0.1),
        "interpolation_over_crossfade_smoothness": (-0.3, 0.1),
        "interpolation_recognised": (0.7, 0.1),
        "crossfade_recognised": (0.5, 0.1),
        "interpolation_over_crossfade_recognised": (0.2, 0.1),
        "frechet_distance": (16.0, 0.4),
    }
    fitted = {"frechet_distance": (7.0, 0.3), "recognisability": (0.3, 0.02)}
    return measured(**usual | numbers) | {"fitted_prior": measured(**fitted | (prior or {}))}


OTHER = {"same_class_by_chance": 0.1, "ssim_by_chance": 0.2}


def ddpm_numbers(at_30: dict | None = None, at_120: dict | None = None, **numbers: float | tuple[float, float]) -> dict:
    """Return the metrics of the DDPM, with changes to the restorations from t = 30 and t = 120."""
    usual = {
        "recognisability": (0.4, 0.02),
        "real_recognisability": 0.99,
        "frechet_distance": (4.0, 0.2),
        "frechet_floor": 0.1,
        "half_restored_t": (100.0, 10.0),
        "half_restored_reached": True,
    }
    rows = [
        measured(t=30, sigma=0.108, psnr=30.0, noised_psnr=25.0, same_class=(0.98, 0.01), ssim=(0.92, 0.01), **OTHER)
        | (at_30 or {}),
        measured(t=120, sigma=0.378, psnr=20.0, noised_psnr=15.0, same_class=(0.42, 0.05), ssim=(0.55, 0.02), **OTHER)
        | (at_120 or {}),
    ]
    return measured(**usual | numbers) | {"restoration": rows}


def variant(
    accuracies: tuple[float, ...] = (0.60, 0.61),
    stds: tuple[float, ...] = (0.9, 0.92),
    losses: tuple[float, ...] = (-0.7, -0.72),
    ranks: tuple[float, ...] = (50.0, 51.0),
    dim: int = 512,
    batch_size: int = 128,
    baselines: dict[str, float] = BASELINES,
    labelled: bool = True,
    images: int = 1000,
    pace: float = 10.0,
) -> dict:
    """Return the files of a trained variant. Each seed classifies the first images correctly; std < 0.5 is a collapse.

    The accuracy after the first epoch is half of the final accuracy.
    """
    std = float(np.mean(stds))
    hits = {key: _first(images, share) for key, share in {"knn": accuracies, **baselines}.items()}
    numbers = {
        **{f"{key}_accuracy": float(correct.mean()) for key, correct in hits.items()},
        "embedding_std": std,
        "effective_rank": float(np.mean(ranks)),
        "collapsed": std < 0.5,
        "final_loss": float(np.mean(losses)),
        "seeds": [
            {"seed": seed, "knn_accuracy": share, "final_loss": loss, "collapsed": std < 0.5, "effective_rank": rank}
            for seed, (share, std, loss, rank) in enumerate(zip(accuracies, stds, losses, ranks, strict=False))
        ],
    }
    seeds = len(accuracies)
    hits = {key: np.broadcast_to(correct, (seeds, images)) for key, correct in hits.items()}
    rows = [
        {"epoch": epoch, "seed": seed, "images": 1000 * epoch, "seconds": pace, "knn_accuracy": share * epoch / 2}
        for seed, share in enumerate(accuracies)
        for epoch in (1, 2)
    ]
    return {
        "settings": {"method": "simsiam", "projector_dim": dim, "training": {"batch_size": batch_size}},
        "metrics": numbers,
        "arrays": {"views": np.zeros((1, 1), np.uint8)}
        | ({f"{key}_correct": correct for key, correct in hits.items()} if labelled else {}),
        "rows": pd.DataFrame(rows),
    }


def _first(images: int, share: float | tuple[float, ...]) -> np.ndarray:
    """Return a boolean array (seeds, images), of which the first share is True."""
    return np.arange(images) < images * np.atleast_1d(share)[:, None]


COLLAPSED = {"accuracies": (0.14, 0.15), "stds": (0.2, 0.25), "losses": (-0.99, -0.98)}
# Every variant that a claim compares, as the report would have it.
TRAINED = {
    "simsiam": variant(),
    "no_stop_gradient": variant(**COLLAPSED),
    "no_stop_gradient_low_noise": variant(**COLLAPSED),
    "no_predictor": variant(**COLLAPSED),
    "projector_4096": variant((0.66, 0.67), dim=1024),
    "barlow_twins": variant((0.60, 0.61), dim=256),
    "barlow_small_batch": variant((0.59, 0.60), dim=256, batch_size=64),
    "barlow_large_batch": variant((0.60, 0.61), dim=256, batch_size=256),
    "barlow_small_batch_steps": variant((0.59, 0.60), dim=256, batch_size=64),
    "barlow_large_batch_steps": variant((0.60, 0.61), dim=256, batch_size=256),
    "barlow_narrow": variant((0.50, 0.51), dim=64),
    "barlow_wide": variant((0.66, 0.67), dim=1024),
    "simsiam_heavy": variant((0.45, 0.46)),
    "simsiam_heavy_mild": variant((0.50, 0.51)),
    "byol": variant((0.64, 0.65), pace=12.5),
    "byol_heavy": variant((0.60, 0.61)),
    "dssl": variant((0.62, 0.63)),
    "vicreg": variant((0.60, 0.61)),
    "vicreg_no_variance": variant(**COLLAPSED),
    "vicreg_no_covariance": variant((0.50, 0.51), ranks=(12.0, 13.0)),
    "asymsiam": variant((0.67, 0.68)),
    "asymsiam_reverse": variant((0.58, 0.59)),
    "asymsiam_symmetric": variant((0.60, 0.61)),
    "asymsiam_strong": variant((0.55, 0.56)),
    "asymsiam_weak": variant((0.58, 0.59)),
    "lejepa": variant((0.70, 0.71), dim=256),
}
NO_LOW_NOISE = {"no_stop_gradient_low_noise": None}
LATENTS = pd.DataFrame({"class": name, "latent": z, "share": 1 / 32} for name in "01" for z in range(32))


def write_run(
    root: Path,
    vae: dict | None = None,
    ddpm: dict | None = None,
    seconds: tuple[float, ...] = (9.0, 9.1, 9.2, 9.1, 9.0, 8.9),
    clock: tuple[float, ...] = (),
    device: str = "cpu",
    latents: pd.DataFrame = LATENTS,
    **variants: dict | None,
) -> None:
    """Write a run in which every claim holds, with changes; a variant that is None was not trained.

    `seconds` are the CPU time of the VAE's epochs, and also the wall-clock time unless `clock` is given.
    """
    trained = {name: found for name, found in (TRAINED | variants).items() if found}
    params = {
        "seed": 0,
        "ssl": {"methods": {}, "variants": {name: found["settings"] for name, found in trained.items()}},
        "evaluation": {"bootstrap": 200, "confidence_level": 0.95},
        "claims": LIMITS.model_dump(),
    }
    texts = {
        "params.yaml": yaml.safe_dump(params),
        "metrics/vae.json": json.dumps(vae_numbers() if vae is None else vae),
        "metrics/ddpm.json": json.dumps(ddpm_numbers() if ddpm is None else ddpm),
        "plots/vae/latents.csv": latents.to_csv(index=False),
        "plots/vae/timing.csv": pd.DataFrame(
            {"epoch": range(len(seconds)), "seconds": clock or seconds, "cpu_seconds": seconds}
        ).to_csv(index=False),
        "metrics/timing/vae.json": json.dumps({"device": device}),
        **{f"metrics/ssl/{name}.json": json.dumps(found["metrics"]) for name, found in trained.items()},
    }
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    for name, found in trained.items():
        tables = {"course": ["knn_accuracy"], "training": ["images"], "timing": ["seconds"]}
        for table, columns in tables.items():
            path = root / f"plots/ssl/{name}_{table}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            found["rows"][["epoch", "seed", *columns]].to_csv(path, index=False)
        (root / "evaluations/ssl" / name).mkdir(parents=True, exist_ok=True)
        np.savez(root / "evaluations/ssl" / name / "results.npz", **found["arrays"])


@pytest.fixture
def evidence(tmp_path: Path) -> Callable[..., Evidence]:
    """Return a function that writes a run with changes to a new folder and returns its evidence."""

    def build(**changes: object) -> Evidence:
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        write_run(root, **changes)
        return of_run(root)

    return build


def of_run(root: Path) -> Evidence:
    return Evidence(Results(root), Resampling(seed=0, level=0.95, draws=200, owner="claims"), LIMITS)


def record(evidence: Evidence, name: str) -> dict:
    """Return the record of one claim."""
    return CLAIMS[IDS.index(name)].record(evidence, FIGURES)


# --- The verdicts ---

# Cases in which all conditions are met (YES), at least one is not met (NO), or otherwise one is undecided (OPEN).
CASES = {
    "vae-wall-clock": [
        (YES, {}),
        (YES, {"seconds": tuple(9.0 + 0.3 * (epoch % 2) for epoch in range(15))}),
        (OPEN, {"seconds": (9.0, 9.1, 9.2, 9.0, 12.5, 9.1)}),
        (OPEN, {"seconds": (5.0, 9.0, 14.0, 6.0, 12.0, 20.0, 7.0, 9.0)}),
        (OPEN, {"seconds": tuple(9.0 + 0.1 * epoch for epoch in range(15))}),
    ],
    "vae-blurry": [
        (YES, {}),
        (NO, {"vae": vae_numbers(sharpness_ratio=(0.9, 0.05))}),
        (NO, {"vae": vae_numbers(recognisability=(0.9, 0.05))}),
        (NO, {"vae": vae_numbers(recognisability=(0.9, 0.05), sharpness_ratio=(0.5, 0.05))}),
        (OPEN, {"vae": vae_numbers(sharpness_ratio=(0.49, 0.05))}),
        (OPEN, {"vae": vae_numbers(recognisability=(0.51, 0.05))}),
    ],
    "vae-latents": [
        (YES, {}),
        (NO, {"vae": vae_numbers(top_latents_over_shuffled=(-0.3, 0.02))}),
        (NO, {"vae": vae_numbers(top_latents_over_rotated=(0.01, 0.05))}),
        (OPEN, {"vae": vae_numbers(top_latents_over_rotated=(0.1, 0.12))}),
    ],
    "vae-interpolation": [
        (YES, {}),
        (NO, {"vae": vae_numbers(interpolation_over_crossfade_smoothness=(0.5, 0.3))}),
        (NO, {"vae": vae_numbers(interpolation_over_crossfade_recognised=(-0.2, 0.1))}),
        (OPEN, {"vae": vae_numbers(interpolation_over_crossfade_smoothness=(-0.1, 0.3))}),
    ],
    "ddpm-restores-30": [
        (YES, {}),
        (NO, {"ddpm": ddpm_numbers(at_30=measured(same_class=(0.5, 0.05), ssim=(0.9, 0.01)))}),
        (NO, {"ddpm": ddpm_numbers(at_30=measured(same_class=(0.99, 0.01), ssim=(0.6, 0.01)))}),
        (OPEN, {"ddpm": ddpm_numbers(at_30=measured(same_class=(0.92, 0.05), ssim=(0.9, 0.01)))}),
    ],
    "ddpm-fails-120": [
        (YES, {}),
        (NO, {"ddpm": ddpm_numbers(at_120=measured(same_class=(0.99, 0.01), ssim=(0.9, 0.01)))}),
        (NO, {"ddpm": ddpm_numbers(at_120=measured(same_class=(0.99, 0.01), ssim=(0.5, 0.01)))}),
        (OPEN, {"ddpm": ddpm_numbers(at_120=measured(same_class=(0.5, 0.05), ssim=(0.5, 0.01)))}),
        (NO, {"ddpm": ddpm_numbers(half_restored_t=(400.0, 20.0))}),
        (OPEN, {"ddpm": ddpm_numbers(half_restored_t=(115.0, 20.0))}),
    ],
    "ddpm-beats-vae": [
        (YES, {}),
        (NO, {"ddpm": ddpm_numbers(frechet_distance=(20.0, 0.4))}),
        (NO, {"ddpm": ddpm_numbers(recognisability=(0.02, 0.01))}),
        (NO, {"vae": vae_numbers({"frechet_distance": (2.0, 0.2)})}),
        (NO, {"vae": vae_numbers({"recognisability": (0.5, 0.02)})}),
        (OPEN, {"vae": vae_numbers({"frechet_distance": (4.1, 0.2)})}),
        (OPEN, {"vae": vae_numbers({"recognisability": (0.39, 0.02)})}),
    ],
    "stop-gradient": [
        (YES, {}),
        (NO, {"no_stop_gradient": variant(**COLLAPSED | {"accuracies": (0.60, 0.61)})}),
        (NO, {"no_stop_gradient": variant(**COLLAPSED | {"stds": (0.9, 0.8)})}),
        (YES, {"no_stop_gradient": variant(**COLLAPSED | {"losses": (-0.6, -0.7)})}),
        (YES, {"no_stop_gradient_low_noise": None}),
        (NO, {"no_stop_gradient_low_noise": variant(**COLLAPSED | {"losses": (-0.6, -0.7)})}),
        (NO, NO_LOW_NOISE | {"no_stop_gradient": variant(**COLLAPSED | {"losses": (-0.6, -0.7)})}),
        (OPEN, {"no_stop_gradient": variant(**COLLAPSED | {"accuracies": (0.1, 0.6)})}),
        (OPEN, {"no_stop_gradient_low_noise": variant(**COLLAPSED | {"losses": (-0.99, -0.7)})}),
        (OPEN, {"no_stop_gradient": variant(**COLLAPSED | {"stds": (0.2, 0.9)})}),
    ],
    "predictor": [
        (YES, {}),
        (NO, {"no_predictor": variant((0.2, 0.21))}),
        (NO, {"no_predictor": variant(**COLLAPSED | {"accuracies": (0.60, 0.61)})}),
        (OPEN, {"no_predictor": variant(**COLLAPSED | {"accuracies": (0.3, 0.6)})}),
    ],
    "dim-4096": [
        (YES, {}),
        (NO, {"projector_4096": variant((0.50, 0.51), dim=1024)}),
        (NO, {"projector_4096": variant((0.601, 0.612), dim=1024)}),
        (NO, {"projector_4096": variant(dim=1024)}),
        (OPEN, {"projector_4096": variant((0.58, 0.66), dim=1024)}),
    ],
    "barlow-no-tricks": [
        (YES, {}),
        (YES, {"barlow_small_batch": variant((0.9, 0.9), batch_size=64)}),
        (NO, {"barlow_wide": variant((0.45, 0.46), dim=1024)}),
        (NO, {"barlow_wide": variant((0.501, 0.512), dim=1024)}),
        (NO, {"barlow_small_batch": variant((0.50, 0.51), batch_size=64)}),
        (NO, {"barlow_small_batch_steps": variant((0.50, 0.51), batch_size=64)}),
        (NO, {"barlow_large_batch_steps": variant((0.70, 0.71), batch_size=256)}),
        (NO, {"barlow_twins": variant(baselines=BASELINES | {"pixel_knn": (0.58, 0.59)})}),
        (NO, {"barlow_twins": variant(baselines=BASELINES | {"raw_pixel_knn": (0.58, 0.59)})}),
        (NO, {"barlow_twins": variant(stds=(0.2, 0.2))}),
        (OPEN, {"barlow_wide": variant((0.49, 0.55), dim=1024)}),
        (OPEN, {"barlow_small_batch": variant((0.50, 0.62), batch_size=64)}),
        (OPEN, {"barlow_twins": variant(stds=(0.2, 0.9))}),
        (OPEN, {"barlow_twins": variant(baselines=BASELINES | {"pixel_knn": (0.555, 0.554)})}),
    ],
    "heavy-augmentation": [
        (YES, {}),
        (NO, {"simsiam_heavy": variant((0.62, 0.63))}),
        (NO, {"simsiam_heavy": variant((0.599, 0.609)), "dssl": variant((0.7, 0.7))}),
        (NO, {"simsiam_heavy_mild": variant((0.62, 0.63))}),
        (NO, {"simsiam_heavy_mild": variant((0.599, 0.609)), "dssl": variant((0.7, 0.7))}),
        (NO, {"byol_heavy": variant((0.40, 0.41))}),
        (NO, {"dssl": variant((0.42, 0.43))}),
        (NO, {"dssl": variant((0.56, 0.57))}),
        (OPEN, {"simsiam_heavy": variant((0.45, 0.62))}),
        (OPEN, {"byol_heavy": variant((0.40, 0.61))}),
        (OPEN, {"dssl": variant((0.57, 0.67))}),
    ],
    "vicreg-terms": [
        (YES, {}),
        (YES, {"vicreg_no_covariance": variant(ranks=(49.0, 13.0))}),
        (NO, {"vicreg_no_variance": variant()}),
        (NO, {"vicreg_no_covariance": variant(ranks=(53.0, 54.0))}),
        (NO, {"vicreg": variant(stds=(0.2, 0.2))}),
        (OPEN, {"vicreg_no_variance": variant(stds=(0.2, 0.9))}),
        (OPEN, {"vicreg_no_covariance": variant(ranks=(12.0, 54.0))}),
    ],
    "byol-vs-simsiam": [
        (YES, {}),
        (YES, {"byol": variant((0.50, 0.502))}),
        (NO, {"byol": variant((0.41, 0.411))}),
        (NO, {"simsiam": variant((0.41, 0.411))}),
        (NO, {"byol": variant(stds=(0.2, 0.3))}),
        (OPEN, {"byol": variant((0.43, 0.50))}),
        (OPEN, {"simsiam": variant(stds=(0.2, 0.9))}),
    ],
    "asymmetry": [
        (YES, {}),
        (YES, {"asymsiam_reverse": variant((0.60, 0.61))}),
        (NO, {"asymsiam": variant((0.56, 0.57))}),
        (NO, {"asymsiam_reverse": variant((0.66, 0.67))}),
        (NO, {"asymsiam_strong": variant((0.68, 0.69))}),
        (NO, {"asymsiam_weak": variant((0.68, 0.69))}),
        (NO, {"simsiam": variant((0.68, 0.69))}),
        (OPEN, {"asymsiam": variant((0.59, 0.65))}),
        (OPEN, {"asymsiam_reverse": variant((0.60, 0.66))}),
    ],
    "lejepa-no-tricks": [
        (YES, {}),
        (NO, {"lejepa": variant((0.20, 0.21))}),
        (NO, {"lejepa": variant((0.70, 0.71), stds=(0.2, 0.2))}),
        (OPEN, {"lejepa": variant((0.45, 0.70))}),
        (OPEN, {"lejepa": variant((0.70, 0.71), stds=(0.2, 0.9))}),
    ],
}


# A large spread of time per epoch may come from other work on the machine, so it refutes nothing.
NEVER_REFUTED = {"vae-wall-clock"}
WOULD_DECIDE = re.compile("would decide it|More seeds would not help")


def test_every_claim_has_cases_of_all_kinds():
    assert set(CASES) == set(IDS) and len(set(IDS)) == len(IDS)
    for name, cases in CASES.items():
        assert {verdict for verdict, _ in cases} == {YES, NO, OPEN} - ({NO} if name in NEVER_REFUTED else set()), name


@pytest.mark.parametrize("name", CASES)
def test_a_verdict_follows_from_its_numbers_and_the_finding_states_them(name, evidence):
    for verdict, changes in CASES[name]:
        claim = record(evidence(**changes), name)
        finding, answers = claim["finding"], {condition["verdict"] for condition in claim["conditions"]}
        assert next(answer for answer in (NO, OPEN, YES) if answer in answers) == verdict, (changes, finding)
        mixed = PARTLY if YES in answers else OPEN
        assert claim["verdict"] == (mixed if len(answers) > 1 else verdict), (changes, finding)
        bounds = claim["interval"] or claim["range"]
        assert bounds["low"] <= claim["measured"] <= bounds["high"], finding
        stated = [float(number) for number in re.findall(r"[+-]?\d+(?:\.\d+)?", finding.replace("−", "-"))]
        assert any(abs(number - scale * claim["measured"]) <= 0.051 for number in stated for scale in (1, 100)), finding
        stated = claim["would_decide"]
        assert bool(WOULD_DECIDE.search(stated)) == bool(stated) == (OPEN in answers), finding
        verdicts = [condition["verdict"] for condition in claim["conditions"]]
        assert (verdict == YES) == (set(verdicts) == {YES}) and NOT_MEASURED not in verdicts
        assert NO not in verdicts or verdict != YES


def test_wall_clock_time_does_not_count_where_the_cpu_trains(evidence):
    disturbed = tuple(9.0 + 4.0 * (epoch in (3, 4, 9)) for epoch in range(15))
    steady = {"seconds": tuple(9.0 + 0.1 * (epoch % 3) for epoch in range(15)), "clock": disturbed}
    claim = record(evidence(**steady), "vae-wall-clock")
    assert claim["verdict"] == YES and claim["evidence"]["of_the_processor"]
    assert claim["evidence"]["spread_by_the_clock"] == pytest.approx(np.std(disturbed, ddof=1) / np.mean(disturbed))
    # A GPU's time is not that of the CPU which calls it.
    claim = record(evidence(**steady, device="NVIDIA H100"), "vae-wall-clock")
    assert claim["verdict"] == OPEN and not claim["evidence"]["of_the_processor"]


def test_epochs_that_spread_widely_or_follow_a_trend(evidence):
    wide = record(evidence(seconds=(5.0, 9.0, 14.0, 6.0, 12.0, 20.0, 7.0, 9.0)), "vae-wall-clock")
    assert wide["interval"]["low"] > wide["threshold"] and wide["verdict"] == OPEN
    trend = record(evidence(seconds=tuple(9.0 + 0.1 * epoch for epoch in range(15))), "vae-wall-clock")["evidence"]
    assert trend["seconds_more_each_epoch"] == pytest.approx(0.1) and trend["autocorrelation_measured"] > 0.7


def test_a_higher_assumed_autocorrelation_takes_steadier_epochs(evidence):
    run = evidence(seconds=tuple(9.0 + 0.6 * (epoch % 2) for epoch in range(15)))
    verdicts = []
    for rho in (0.0, 0.9):
        vae = LIMITS.vae.model_copy(update={"epoch_autocorrelation": rho})
        limits = LIMITS.model_copy(update={"vae": vae})
        verdicts.append(record(Evidence(run.results, run.resampling, limits), "vae-wall-clock")["verdict"])
    assert verdicts == [YES, OPEN]


def test_the_difference_of_ablation_and_baseline_is_paired(evidence):
    """Only images that exactly one of the two classifies correctly make the difference uncertain."""
    base = variant((0.6,))
    scattered = base | {
        "arrays": base["arrays"] | {"knn_correct": np.roll(base["arrays"]["knn_correct"], 350, axis=1)[:, ::-1]}
    }
    same, apart = (
        knn_difference("no_predictor", "simsiam")(evidence(simsiam=base, no_predictor=other))
        for other in (base, scattered)
    )
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert apart.value == 0 and apart.high > 0.019


def test_variants_are_compared_on_the_first_seeds_that_both_have(evidence):
    run = evidence(simsiam=variant((0.60, 0.61, 0.1, 0.1), stds=(0.9,) * 4, losses=(-0.7,) * 4, ranks=(50,) * 4))
    difference = knn_difference("no_predictor", "simsiam")(run)
    assert len(difference.values) == 2 and difference.value == pytest.approx(-0.46)
    facts = record(run, "predictor")["evidence"]  # of the same seeds, so that they add up
    assert facts["no_predictor_knn_accuracy"] - facts["simsiam_knn_accuracy"] == pytest.approx(-0.46)


def test_the_margin_over_baselines_is_the_least_of_them(evidence):
    assert record(evidence(), "byol-vs-simsiam")["measured"] == pytest.approx(0.605 - 0.40)
    raw = evidence(byol=variant((0.64, 0.65), baselines=BASELINES | {"raw_pixel_knn": 0.5}))
    assert record(raw, "byol-vs-simsiam")["measured"] == pytest.approx(0.645 - 0.5)


def test_byol_and_simsiam_are_compared_at_equal_images_and_at_equal_seconds(evidence):
    """After 20 s SimSiam has ended at 60.5 %; BYOL, at 12.5 s an epoch, is 0.6 of the way from 32.25 to 64.5 %."""
    numbers = record(evidence(), "byol-vs-simsiam")["evidence"]
    assert numbers["at_equal_images_knn_accuracy"] == pytest.approx(0.04)
    assert numbers["at_equal_seconds_knn_accuracy"] == pytest.approx(0.3225 + 0.6 * 0.3225 - 0.605)


def test_few_latents_of_a_random_direction_hold_more_than_their_equal_share():
    share = random_direction_share(32, 2000, np.random.default_rng(0))
    squares = np.random.default_rng(1).chisquare(1, (2000, 32))
    expected = np.mean([sum(sorted(row)[-3:]) / sum(row) for row in squares])
    assert share == pytest.approx(expected, rel=0.02) and share > 4 * 3 / 32


# --- The engine ---


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ([True, True], YES),
        ([True, None], PARTLY),
        ([True, False], PARTLY),
        ([False, False], NO),
        ([False, None], OPEN),
        ([None, None], OPEN),
    ],
)
def test_the_verdict_on_a_claim_follows_from_its_conditions(answers, verdict):
    assert claim_verdict(answers) == claim_verdict(answers[::-1]) == verdict


@pytest.mark.parametrize(
    ("direction", "ends", "more", "answer"),
    [
        ("above", (0.51, 0.9), {}, True),
        ("above", (0.1, 0.5), {}, False),
        ("above", (0.4, 0.6), {}, None),
        ("below", (0.1, 0.49), {}, True),
        ("below", (0.5, 0.9), {}, False),
        ("below", (0.4, 0.6), {}, None),
        ("within", (-0.4, 0.4), {}, True),
        ("within", (0.5, 0.9), {}, False),
        ("within", (-0.9, -0.5), {}, False),
        ("within", (0.4, 0.6), {}, None),
        ("below", (0.5, 0.9), {"refutable": False}, None),
        ("below", (0.1, 0.4), {"refutable": False}, True),
    ],
)
def test_a_condition_is_met_not_met_or_undecided(direction, ends, more, answer, evidence):
    low, high = ends
    condition = Condition("c", "So", lambda _: Estimate((low + high) / 2, low, high), direction, 0.5, ".2f", **more)
    outcome = condition.outcome(evidence())
    assert outcome.answer is answer
    assert outcome.record()["verdict"] == {True: YES, False: NO, None: OPEN}[answer]


@pytest.mark.parametrize(
    ("ends", "answer"),
    [((0.001, 0.02), True), ((-0.02, 0.0), False), ((-0.005, 0.005), False), ((-0.005, 0.02), None)],
)
def test_a_difference_within_the_margin_of_none_is_no_gain(ends, answer, evidence):
    gain = Condition("c", "So", lambda _: Estimate(0.0, *ends), "above", 0.0, ".2f", no_difference="ssl.no_difference")
    assert gain.outcome(evidence()).answer is answer


def test_a_threshold_is_a_number_or_a_key_of_params_which_a_minus_negates(evidence):
    run = evidence()
    assert [run.threshold(key) for key in (0.25, "ssl.knn_drop", "-ssl.knn_drop")] == [0.25, 0.05, -0.05]
    outcome = Condition(
        "c",
        "Falls by more than {size}, below {threshold}",
        lambda _: SeedRange(-0.2, -0.3, -0.1),
        "below",
        "-ssl.knn_drop",
        ".0%",
    ).outcome(run)
    assert outcome.sentence().replace("\u00a0", " ") == (
        "Falls by more than 5 %, below −5 %: met, at −20 % (seeds: −30 to −10 %)."
    )


def test_differences_of_independent_numbers(evidence):
    run = evidence()
    apart = difference(number("ddpm", "frechet_distance"), number("vae", "frechet_distance"))(run)
    assert apart.value == -12 and apart.high - apart.value == pytest.approx(np.hypot(0.2, 0.4))
    with pytest.raises(UnmeasuredError, match="no interval for real_recognisability"):
        number("vae", "real_recognisability")(run)


def test_claims_are_read_from_yaml(tmp_path: Path, evidence):
    """Claims may call functions of the study, and a function may return several conditions."""

    def twice(one: Callable) -> Callable:
        return lambda run: Estimate(*(2 * end for end in (one(run).value, one(run).low, one(run).high)))

    def pair(file: str, *keys: str) -> list[Condition]:
        return [Condition(key, "So", number(file, key), "below", 0.5, ".2f") for key in keys]

    path = tmp_path / "claims.yaml"
    path.write_text("""
one:
  {claim: C, report_says: R, statistic: S, figures: [], conditions: [
    {id: a, statement: So, measure: {twice: {number: [vae, sharpness_ratio]}}, above: vae.sharpness, format: .2f},
    {pair: [vae, sharpness_ratio, recognisability]}],
   facts: [{key: limit, measure: {threshold: -vae.sharpness}, format: .2f}]}
""")
    [claim] = read_claims(path, twice, pair)
    assert [(one.id, one.direction, one.threshold) for one in claim.conditions] == [
        *(("a", "above", "vae.sharpness"), ("sharpness_ratio", "below", 0.5), ("recognisability", "below", 0.5)),
    ]
    written = claim.record(evidence(), [])
    assert written["verdict"] == PARTLY and written["measured"] == 0.4  # not met, met, met
    assert written["evidence"] == {"limit": -0.5}


def test_a_claim_with_a_missing_number_is_not_measured_and_keeps_its_other_conditions(evidence):
    def missing(_: Evidence) -> Estimate:
        raise UnmeasuredError("nobody counted")

    met = Condition("met", "One", lambda _: Estimate(2.0, 1.5, 2.5), "above", 1.0, "g")
    gap = Condition("gap", "Two", missing, "above", 1.0, "g")
    for conditions, facts in (((met, gap), ()), ((met,), (Fact("extra", missing, "g"),))):
        claim = Claim("c", "C", "R", "S", conditions, (), facts).record(evidence(), [])
        assert not_measured(claim, "nobody counted") and claim["sources"] == []
        assert [one["verdict"] for one in claim["conditions"]] == [YES, NOT_MEASURED][: len(conditions)]


# --- What is missing ---


def not_measured(claim: dict, *reasons: str) -> bool:
    empty = claim["measured"] is claim["interval"] is claim["threshold"] is None and claim["evidence"] == {}
    return claim["verdict"] == NOT_MEASURED and empty and all(reason in claim["finding"] for reason in reasons)


@pytest.mark.parametrize(
    ("removed", "names"),
    [
        ("no_stop_gradient", ["stop-gradient"]),
        ("no_predictor", ["predictor"]),
        ("projector_4096", ["dim-4096"]),
        ("barlow_narrow", ["barlow-no-tricks"]),
        ("byol", ["heavy-augmentation", "byol-vs-simsiam"]),
        ("dssl", ["heavy-augmentation"]),
        ("vicreg_no_variance", ["vicreg-terms"]),
        ("asymsiam_reverse", ["asymmetry"]),
    ],
)
def test_claims_whose_variant_was_removed_are_not_measured_and_name_it(removed, names, evidence):
    claims = decide(evidence(**{removed: None}), CLAIMS, FIGURES)
    assert [claim["id"] for claim in claims if claim["verdict"] == NOT_MEASURED] == names
    for name in names:
        claim = claims[IDS.index(name)]
        assert not_measured(claim, f"ssl.variants in params.yaml has no {removed}") and claim["sources"] == []
        assert "no simsiam" not in claim["finding"]
        assert NOT_MEASURED in [condition["verdict"] for condition in claim["conditions"]]


@pytest.mark.parametrize("name", ["stop-gradient", "predictor", "dim-4096", "heavy-augmentation", "byol-vs-simsiam"])
def test_without_labels_accuracy_decides_nothing(name, evidence):
    run = evidence(simsiam=variant(labelled=False))
    assert not_measured(record(run, name), "evaluations/ssl/simsiam/results.npz", "knn_correct")


def test_a_run_without_pixel_baselines_says_so(evidence):
    older = variant(baselines={"random_init_knn": 0.15})
    run = evidence(byol=older, barlow_twins=older)
    for name, owner in (("byol-vs-simsiam", "byol"), ("barlow-no-tricks", "barlow_twins")):
        assert not_measured(record(run, name), f"evaluations/ssl/{owner}/results.npz", "pixel_knn_correct")
    assert record(run, "predictor")["verdict"] == YES


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("vae-blurry", "recognisability"),
        ("vae-latents", "top_latents_over_shuffled"),
        ("vae-interpolation", "interpolation_over_crossfade_smoothness"),
        ("ddpm-beats-vae", "frechet_distance"),
    ],
)
def test_a_missing_number_is_named(name, key, evidence):
    numbers = {k: value for k, value in vae_numbers().items() if k != key}
    assert not_measured(record(evidence(vae=numbers), name), "metrics/vae.json", key)
    assert not_measured(record(evidence(vae=vae_numbers() | {key: None}), name), "metrics/vae.json", key)


def test_a_missing_restoration_is_named(evidence):
    run = evidence(ddpm=ddpm_numbers() | {"restoration": []})
    assert not_measured(record(run, "ddpm-restores-30"), "metrics/ddpm.json has no restoration.t=30.same_class")
    assert not_measured(record(run, "ddpm-fails-120"), "metrics/ddpm.json has no restoration.t=120.same_class")


@pytest.mark.parametrize("epochs", [1, 2])
def test_one_epoch_or_two_have_no_spread(epochs, evidence):
    assert not_measured(record(evidence(seconds=(9.0, 9.1)[:epochs]), "vae-wall-clock"), "at least three epochs")


def test_images_without_labels_have_no_latents_of_classes(evidence):
    assert not_measured(record(evidence(latents=LATENTS[:0]), "vae-latents"), "plots/vae/latents.csv has no classes")


def test_results_of_other_images_are_refused(evidence):
    with pytest.raises(
        InputError, match=r"evaluations/ssl/simsiam/results.npz: has results for 1000 images.* rerun evaluate_ssl"
    ):
        record(evidence(no_predictor=variant((0.2, 0.2), images=900)), "predictor")


# --- The number of seeds that would decide ---


def seeds_stated(claim: dict) -> int:
    stated = int(re.search(r"About ([\d,]+) seeds would decide it", claim["would_decide"])[1].replace(",", ""))
    assert claim["evidence"]["seeds_that_would_decide"] == stated
    return stated


def test_an_open_claim_states_the_seeds_that_would_decide_it(evidence):
    run = evidence(no_predictor=variant((0.30, 0.60)))
    values = knn_difference("no_predictor", "simsiam")(run).values
    assert seeds_stated(record(run, "predictor")) == seeds_to_exclude(values, -0.05, 0.95) > 2
    assert "seeds_that_would_decide" not in record(evidence(), "predictor")["evidence"]


def test_of_several_open_conditions_the_one_that_needs_most_seeds_counts(evidence):
    one = evidence(asymsiam=variant((0.59, 0.65)))
    both = evidence(asymsiam=variant((0.59, 0.65)), asymsiam_reverse=variant((0.45, 0.68)))
    assert seeds_stated(record(one, "asymmetry")) < seeds_stated(record(both, "asymmetry"))


def test_a_negligible_gain_may_be_decided_by_its_margin_sooner_than_by_zero(evidence):
    """A gain of half a point with little spread is distinguished from one point before it is from zero."""
    run = evidence(projector_4096=variant((0.594, 0.621), dim=1024))
    claim, values = record(run, "dim-4096"), knn_difference("projector_4096", "simsiam")(run).values
    ways = [seeds_to_exclude(values, threshold, 0.95) for threshold in (0.0, -0.01, 0.01)]
    assert claim["verdict"] == OPEN and seeds_stated(claim) == max(ways[1:])
    assert ways[0] is None or ways[0] > max(ways[1:])


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("vicreg-terms", {"vicreg_no_covariance": variant(ranks=(12.0, 54.0))}),
        ("stop-gradient", {"no_stop_gradient": variant(**COLLAPSED | {"stds": (0.2, 0.9)})}),
        ("asymmetry", {"asymsiam": variant((0.58, 0.63))}),  # no difference at all from (0.60, 0.61)
    ],
)
def test_a_claim_that_no_number_of_seeds_would_decide_says_so(name, changes, evidence):
    claim = record(evidence(**changes), name)
    assert "More seeds would not help" in claim["would_decide"] and claim["verdict"] == PARTLY
    assert "seeds_that_would_decide" not in claim["evidence"]


def test_one_seed_does_not_tell_how_many_it_takes(evidence):
    alone = {"stds": (0.9,), "losses": (-0.7,), "ranks": (50.0,)}
    run = evidence(simsiam=variant((0.6,), **alone), no_predictor=variant((0.552,), **alone))
    assert "cannot be estimated from one seed" in record(run, "predictor")["would_decide"]


# --- The file ---


def test_each_claim_has_one_record_of_the_same_keys_in_the_order_of_the_claims(evidence):
    run = evidence()
    records = decide(run, CLAIMS, FIGURES)
    assert [claim["id"] for claim in records] == IDS
    assert all(list(claim) == KEYS for claim in records)
    assert all(list(condition) == CONDITION_KEYS for claim in records for condition in claim["conditions"])
    assert all(isinstance(number, int | float) for claim in records for number in claim["evidence"].values())
    assert json.loads(json.dumps(records, allow_nan=False)) == records == decide(run, CLAIMS, FIGURES)
    assert {claim["verdict"] for claim in records} == {YES}


def test_every_number_of_the_evidence_has_a_fact_with_its_format(evidence):
    run = evidence(no_predictor=variant((0.30, 0.60)))
    for claim in CLAIMS:
        ends = {f"{fact.key}{end}" for fact in claim.facts for end in ("", "_low", "_high")}
        numbers = claim.record(run, FIGURES)["evidence"]
        assert numbers.keys() - ends <= {"seeds_that_would_decide"}, claim.id
        assert {fact.key for fact in claim.facts} <= numbers.keys(), claim.id


def test_statements_are_sentences_whose_conditions_have_their_own_names():
    for claim in CLAIMS:
        ids = [condition.id for condition in claim.conditions]
        assert len(set(ids)) == len(ids), claim.id
        assert [one.statement for one in claim.conditions if not re.fullmatch(r"[A-Z].*[^.]", one.statement)] == []
    arguments = {claim.id for claim in CLAIMS if claim.kind == "argument"}
    assert arguments == {"barlow-no-tricks", "heavy-augmentation", "vicreg-terms", "byol-vs-simsiam", "asymmetry"}


def test_each_claim_names_figures_of_its_own_study():
    owner = {figure.number: study.slug for study in STUDIES for figure in study.figures}
    slugs = [figure.slug for figure in FIGURES]
    for study in STUDIES:
        for claim in study.claims:
            allowed = {"vae", "ddpm"} if claim.id == "ddpm-beats-vae" else {study.slug}
            assert {owner[number] for number in claim.numbers(FIGURES)} <= allowed, claim.id
            assert all(fnmatch.filter(slugs, name) for name in claim.figures), claim.id


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with the files that the stage reads."""
    write_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_stage_writes_every_record_and_prints_the_count(project: Path, capsys):
    runpy.run_path(str(ROOT / "stages/decide_claims.py"))["main"]()
    records = json.loads((project / "metrics/claims.json").read_text())
    assert [(claim["id"], claim["verdict"]) for claim in records] == [(name, YES) for name in IDS]
    assert all((project / path).exists() for claim in records for path in claim["sources"])
    sources = {claim["id"]: claim["sources"] for claim in records}
    assert sources["vae-latents"] == ["metrics/vae.json", "plots/vae/latents.csv"]
    assert {"metrics/ssl/byol.json", "evaluations/ssl/byol/results.npz", "plots/ssl/byol_timing.csv"} <= {
        *sources["byol-vs-simsiam"]
    }
    said = f"claims: {len(CASES)} reproduced\n"
    assert capsys.readouterr().out == said


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("metrics/vae.json", "{"),
        ("metrics/ddpm.json", "[]"),
        ("plots/vae/timing.csv", "epoch,minutes\n1,2\n"),
        ("plots/vae/latents.csv", ""),
        ("metrics/ssl/simsiam.json", None),
        ("evaluations/ssl/simsiam/results.npz", "no archive"),
        ("plots/ssl/byol_timing.csv", "epoch,seed,minutes\n1,0,2\n"),
        ("plots/ssl/simsiam_course.csv", None),
    ],
)
def test_a_missing_or_damaged_file_is_named_in_one_line(project: Path, path: str, content: str | None):
    (project / path).unlink() if content is None else (project / path).write_text(content)
    with pytest.raises(InputError, match=rf"^{re.escape(path)}: [^\n]+$"):
        decide(of_run(Path()), CLAIMS, FIGURES)
