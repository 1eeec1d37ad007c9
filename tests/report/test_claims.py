"""Each claim is decided by its numbers: a clear yes, a clear no, and what this run cannot tell."""

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
from triptych.measures.estimate import Estimate
from triptych.measures.intervals import Resampling
from triptych.measures.power import seeds_to_exclude
from triptych.page import decide as decide_module
from triptych.page.decide import counts, decide, figures_of
from triptych.report.evidence import Evidence
from triptych.report.params import ClaimsParams
from triptych.report.reader import Results
from triptych.report.ruling import every, unanimous
from triptych.ssl.words.compared import knn_difference
from triptych.studies import CLAIMS, STUDIES
from triptych.vae.words.claims import random_direction_share, wall_clock

ROOT = Path(__file__).parents[2]
IDS = [claim.id for claim in CLAIMS]
KEYS = [
    *("id", "claim", "report_says", "figures", "statistic"),
    *("measured", "interval", "threshold", "verdict", "finding", "evidence", "sources"),
]
YES, NO, OPEN = "reproduced", "not reproduced", "inconclusive"

# The cases below are made for these thresholds; any other is that of params.yaml.
THRESHOLDS = {
    "vae": {
        "epoch_spread": 0.1,
        "epoch_autocorrelation": 0.7,
        "sharpness": 0.5,
        "recognisability": 0.5,
        "top_latents_share": 0.5,
        "largest_step": 3.0,
    },
    "ddpm": {"same_class": 0.9, "ssim": 0.8, "frechet_difference": 0.0, "recognisability_difference": 0.0},
    "ssl": {"knn_drop": 0.05, "loss_floor": -0.95, "no_difference": 0.01},
}
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
LIMITS = validate(ClaimsParams, overlaid(PARAMS["claims"], THRESHOLDS), "claims", ROOT / "params.yaml")


# --- Evidence from a few numbers ---

# What has learned nothing.
BASELINES = {"random_init_knn": 0.15, "pixel_knn": 0.40, "raw_pixel_knn": 0.3}


def measured(**numbers: float | tuple[float, float]) -> dict:
    """The content of a metrics file: each number plain, or with half the width of its interval."""
    pairs = {key: number for key, number in numbers.items() if isinstance(number, tuple)}
    return {
        **{key: number[0] if key in pairs else number for key, number in numbers.items()},
        "intervals": {key: {"low": value - half, "high": value + half} for key, (value, half) in pairs.items()},
    }


def vae_numbers(**numbers: float | tuple[float, float]) -> dict:
    usual = {
        "sharpness_ratio": (0.2, 0.01),
        "recognisability": (0.1, 0.01),
        "real_recognisability": 0.99,
        "top_latents_share": (0.7, 0.02),
        "interpolation_smoothness": (1.9, 0.1),
        "frechet_distance": (16.0, 0.4),
    }
    return measured(**usual | numbers)


def ddpm_numbers(at_30: dict | None = None, at_120: dict | None = None, **numbers: float | tuple[float, float]) -> dict:
    """Restorations from t = 30 and t = 120 under their names, as `same_class` and `ssim`, and the rest."""
    usual = {
        "recognisability": (0.4, 0.02),
        "real_recognisability": 0.99,
        "frechet_distance": (4.0, 0.2),
        "frechet_floor": 0.1,
        "half_restored_t": 100.0,
        "half_restored_reached": True,
    }
    rows = [
        measured(t=30, sigma=0.108, psnr=30.0, noised_psnr=25.0, same_class=(0.98, 0.01), ssim=(0.92, 0.01))
        | (at_30 or {}),
        measured(t=120, sigma=0.378, psnr=20.0, noised_psnr=15.0, same_class=(0.42, 0.05), ssim=(0.55, 0.02))
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
    """A trained variant: each seed right about the first so many images, of 2 epochs; a std below 0.5 is a collapse.

    Its accuracy after the first epoch is half of that at the end.
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
            {"seed": seed, "final_loss": loss, "collapsed": std < 0.5, "effective_rank": rank}
            for seed, (std, loss, rank) in enumerate(zip(stds, losses, ranks, strict=False))
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
    """(seeds, images), the first share of them true."""
    return np.arange(images) < images * np.atleast_1d(share)[:, None]


COLLAPSED = {"accuracies": (0.14, 0.15), "stds": (0.2, 0.25), "losses": (-0.99, -0.98)}
# Every variant that a claim compares, as the report would have it.
TRAINED = {
    "simsiam": variant(),
    "no_stop_gradient": variant(**COLLAPSED),
    "no_predictor": variant(**COLLAPSED),
    "projector_4096": variant((0.66, 0.67), dim=1024),
    "barlow_twins": variant((0.60, 0.61), dim=256),
    "barlow_small_batch": variant((0.59, 0.60), dim=256, batch_size=64),
    "barlow_large_batch": variant((0.60, 0.61), dim=256, batch_size=256),
    "barlow_narrow": variant((0.50, 0.51), dim=64),
    "barlow_wide": variant((0.66, 0.67), dim=1024),
    "simsiam_heavy": variant((0.45, 0.46)),
    "byol": variant((0.64, 0.65), pace=12.5),
    "byol_heavy": variant((0.60, 0.61)),
    "dssl": variant((0.62, 0.63)),
    "vicreg": variant((0.60, 0.61)),
    "vicreg_no_variance": variant(**COLLAPSED),
    "vicreg_no_covariance": variant((0.50, 0.51), ranks=(12.0, 13.0)),
    "asymsiam": variant((0.64, 0.65)),
    "asymsiam_reverse": variant((0.58, 0.59)),
    "asymsiam_symmetric": variant((0.60, 0.61)),
}
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
    """A run under which every claim holds; a variant that is None was not trained.

    `seconds` are the VAE's of the processor, and those by the clock too if `clock` is left out.
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
    """From what differs from `write_run` to evidence, each time in a folder of its own."""

    def build(**changes: object) -> Evidence:
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        write_run(root, **changes)
        return of_run(root)

    return build


def of_run(root: Path) -> Evidence:
    return Evidence(Results(root), Resampling(seed=0, level=0.95, draws=200, owner="claims"))


def record(found: Evidence, name: str) -> dict:
    """That of one claim alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decide_module, "CLAIMS", [claim for claim in CLAIMS if claim.id == name])
        return decide(found, LIMITS)[0]


# --- The verdicts ---

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
        (NO, {"vae": vae_numbers(top_latents_share=(0.3, 0.02))}),
        (OPEN, {"vae": vae_numbers(top_latents_share=(0.51, 0.02))}),
    ],
    "vae-interpolation": [
        (YES, {}),
        (NO, {"vae": vae_numbers(interpolation_smoothness=(5.0, 0.3))}),
        (OPEN, {"vae": vae_numbers(interpolation_smoothness=(2.9, 0.3))}),
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
        (OPEN, {"ddpm": ddpm_numbers(at_120=measured(same_class=(0.99, 0.01), ssim=(0.5, 0.01)))}),
        (OPEN, {"ddpm": ddpm_numbers(at_120=measured(same_class=(0.9, 0.05), ssim=(0.5, 0.01)))}),
    ],
    "ddpm-beats-vae": [
        (YES, {}),
        (NO, {"ddpm": ddpm_numbers(frechet_distance=(20.0, 0.4))}),
        (NO, {"ddpm": ddpm_numbers(recognisability=(0.02, 0.01))}),
        (OPEN, {"ddpm": ddpm_numbers(frechet_distance=(15.6, 0.4))}),
        (OPEN, {"ddpm": ddpm_numbers(recognisability=(0.11, 0.02))}),
    ],
    "stop-gradient": [
        (YES, {}),
        (NO, {"no_stop_gradient": variant(**COLLAPSED | {"accuracies": (0.60, 0.61)})}),
        (NO, {"no_stop_gradient": variant(**COLLAPSED | {"stds": (0.9, 0.8)})}),
        (NO, {"no_stop_gradient": variant(**COLLAPSED | {"losses": (-0.6, -0.7)})}),
        (OPEN, {"no_stop_gradient": variant(**COLLAPSED | {"accuracies": (0.1, 0.6)})}),
        (OPEN, {"no_stop_gradient": variant(**COLLAPSED | {"losses": (-0.99, -0.7)})}),
        (OPEN, {"no_stop_gradient": variant(**COLLAPSED | {"stds": (0.2, 0.9)})}),
    ],
    "predictor": [
        (YES, {}),
        (YES, {"no_predictor": variant((0.2, 0.21))}),
        (NO, {"no_predictor": variant(**COLLAPSED | {"accuracies": (0.60, 0.61)})}),
        (OPEN, {"no_predictor": variant((0.3, 0.6))}),
    ],
    "dim-4096": [
        (YES, {}),
        (NO, {"projector_4096": variant((0.50, 0.51), dim=1024)}),
        (NO, {"projector_4096": variant((0.601, 0.611), dim=1024)}),
        (NO, {"projector_4096": variant(dim=1024)}),
        (OPEN, {"projector_4096": variant((0.58, 0.66), dim=1024)}),
    ],
    "barlow-no-tricks": [
        (YES, {}),
        (YES, {"barlow_small_batch": variant((0.9, 0.9), batch_size=64)}),
        (NO, {"barlow_wide": variant((0.45, 0.46), dim=1024)}),
        (NO, {"barlow_small_batch": variant((0.50, 0.51), batch_size=64)}),
        (NO, {"barlow_twins": variant(baselines=BASELINES | {"pixel_knn": 0.58})}),
        (NO, {"barlow_twins": variant(baselines=BASELINES | {"raw_pixel_knn": 0.58})}),
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
        (YES, {"byol": variant((0.50, 0.51))}),
        (NO, {"byol": variant((0.41, 0.42))}),
        (NO, {"simsiam": variant((0.41, 0.42))}),
        (NO, {"byol": variant(stds=(0.2, 0.3))}),
        (OPEN, {"byol": variant((0.43, 0.50))}),
        (OPEN, {"simsiam": variant(stds=(0.2, 0.9))}),
    ],
    "asymmetry": [
        (YES, {}),
        (YES, {"asymsiam_reverse": variant((0.60, 0.61))}),
        (NO, {"asymsiam": variant((0.56, 0.57))}),
        (NO, {"asymsiam_reverse": variant((0.66, 0.67))}),
        (OPEN, {"asymsiam": variant((0.59, 0.65))}),
        (OPEN, {"asymsiam_reverse": variant((0.60, 0.66))}),
    ],
}


@pytest.mark.parametrize("name", CASES)
def test_a_verdict_follows_from_its_numbers_and_its_finding_tells_them(name, evidence):
    for verdict, changes in CASES[name]:
        claim = record(evidence(**changes), name)
        finding = claim["finding"]
        assert claim["verdict"] == verdict, (changes, finding)
        if claim["interval"]:  # a mean over two seeds alone has none
            assert claim["interval"]["low"] <= claim["measured"] <= claim["interval"]["high"], finding
        else:
            assert name == "vicreg-terms" and claim["measured"] is not None
        told = [float(number) for number in re.findall(r"[+-]?\d+(?:\.\d+)?", finding.replace("−", "-"))]
        assert any(abs(number - scale * claim["measured"]) <= 0.051 for number in told for scale in (1, 100)), finding
        assert ("would decide it" in finding) == (verdict == OPEN), finding


# Other work on the machine lengthens epochs: seconds on the clock may show that they are steady, and not the contrary.
NEVER_REFUTED = {"vae-wall-clock"}


def test_every_claim_that_a_rule_decides_has_a_clear_yes_a_clear_no_and_an_open_case():
    assert set(CASES) == set(IDS) and len(set(IDS)) == len(IDS)
    for name, cases in CASES.items():
        assert {verdict for verdict, _ in cases} == {YES, NO, OPEN} - ({NO} if name in NEVER_REFUTED else set()), name


def test_seconds_that_spread_widely_leave_the_clock_s_claim_open_and_say_why(evidence):
    claim = record(evidence(seconds=(5.0, 9.0, 14.0, 6.0, 12.0, 20.0, 7.0, 9.0)), "vae-wall-clock")
    assert claim["interval"]["low"] > claim["threshold"] and "on an idle machine" in claim["finding"]


def test_what_other_work_adds_to_the_clock_does_not_count_where_a_processor_trains(evidence):
    disturbed = tuple(9.0 + 4.0 * (epoch in (3, 4, 9)) for epoch in range(15))
    steady = {"seconds": tuple(9.0 + 0.1 * (epoch % 3) for epoch in range(15)), "clock": disturbed}
    claim = record(evidence(**steady), "vae-wall-clock")
    assert claim["verdict"] == YES and claim["evidence"]["of_the_processor"]
    assert claim["evidence"]["spread_by_the_clock"] == pytest.approx(np.std(disturbed, ddof=1) / np.mean(disturbed))
    # A GPU's time is not that of the processor which calls it.
    claim = record(evidence(**steady, device="NVIDIA H100"), "vae-wall-clock")
    assert claim["verdict"] == OPEN and not claim["evidence"]["of_the_processor"]


def test_a_trend_over_epochs_is_told_beside_their_spread(evidence):
    claim = record(evidence(seconds=tuple(9.0 + 0.1 * epoch for epoch in range(15))), "vae-wall-clock")
    assert "change by 0.10 (0.10 to 0.10) s from one epoch to the next" in claim["finding"]
    assert claim["evidence"]["seconds_more_each_epoch"] == pytest.approx(0.1)
    assert claim["evidence"]["autocorrelation_measured"] > 0.7


def test_more_autocorrelation_supposed_takes_steadier_epochs(evidence):
    found = evidence(seconds=tuple(9.0 + 0.6 * (epoch % 2) for epoch in range(15)))
    verdicts = [
        wall_clock(
            found, LIMITS.model_copy(update={"vae": LIMITS.vae.model_copy(update={"epoch_autocorrelation": rho})})
        )
        for rho in (0.0, 0.9)
    ]
    assert [verdict.holds for verdict in verdicts] == [True, None]


def test_the_difference_of_ablation_and_baseline_is_paired(evidence):
    """Images that both get right, or both wrong, say nothing of the difference: only the others make it uncertain."""
    base = variant((0.6,))
    scattered = base | {
        "arrays": base["arrays"] | {"knn_correct": np.roll(base["arrays"]["knn_correct"], 350, axis=1)[:, ::-1]}
    }
    same, other = (evidence(simsiam=base, no_predictor=found) for found in (base, scattered))
    assert knn_difference(same, "no_predictor", "simsiam").estimate == Estimate(0.0, 0.0, 0.0)
    apart = knn_difference(other, "no_predictor", "simsiam").estimate
    assert apart.value == 0 and apart.high > 0.02


def test_a_collapse_is_told_beside_the_verdict_on_the_predictor(evidence):
    text = [record(evidence(no_predictor=found), "predictor") for found in (variant(**COLLAPSED), variant((0.2, 0.2)))]
    told = ("Its embeddings collapsed.", "Its embeddings did not collapse.")
    assert [[words in claim["finding"] for words in told] for claim in text] == [[True, False], [False, True]]
    assert [claim["evidence"]["no_predictor_collapsed"] for claim in text] == [1, 0]
    assert all("an untrained encoder has 15.0\u00a0%" in claim["finding"] for claim in text)


@pytest.mark.parametrize(("dims", "said"), [((512, 1024), True), ((2048, 4096), False)])
def test_true_widths_are_told_and_what_they_stand_for(dims, said, evidence):
    claim = record(evidence(simsiam=variant(dim=dims[0]), projector_4096=variant((0.7, 0.7), dim=dims[1])), "dim-4096")
    assert f"output of {dims[1]} " in claim["finding"] and f"with {dims[0]} " in claim["finding"]
    assert ("(for the report's 4096)" in claim["finding"]) == ("(for the report's 2048)" in claim["finding"]) == said


@pytest.mark.parametrize(("reached", "said"), [(True, "come back as another from t = 478"), (False, "Up to t = 478")])
def test_where_half_of_the_digits_are_lost_is_told(reached, said, evidence):
    numbers = ddpm_numbers(half_restored_t=478.4, half_restored_reached=reached)
    assert said in record(evidence(ddpm=numbers), "ddpm-fails-120")["finding"]


def test_few_latents_of_a_random_direction_hold_more_than_their_equal_share():
    share = random_direction_share(32, 2000, np.random.default_rng(0))
    squares = np.random.default_rng(1).chisquare(1, (2000, 32))
    expected = np.mean([sum(sorted(row)[-3:]) / sum(row) for row in squares])
    assert share == pytest.approx(expected, rel=0.02) and share > 4 * 3 / 32


# --- What is missing ---


def undecided(claim: dict, *reasons: str) -> bool:
    empty = claim["measured"] is claim["interval"] is claim["threshold"] is None and claim["evidence"] == {}
    return claim["verdict"] == OPEN and empty and all(reason in claim["finding"] for reason in reasons)


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
def test_claims_whose_variant_was_removed_are_open_and_name_it(removed, names, evidence):
    claims = decide(evidence(**{removed: None}), LIMITS)
    assert [claim["id"] for claim in claims if claim["verdict"] == OPEN] == names
    for name in names:
        claim = claims[IDS.index(name)]
        assert undecided(claim, f"no {removed}", "ssl.variants") and claim["sources"] == []
        assert "no simsiam" not in claim["finding"]


@pytest.mark.parametrize("name", ["stop-gradient", "predictor", "dim-4096", "heavy-augmentation", "byol-vs-simsiam"])
def test_without_labels_accuracy_decides_nothing(name, evidence):
    assert undecided(
        record(evidence(simsiam=variant(labelled=False)), name), "evaluations/ssl/simsiam/results.npz", "knn_correct"
    )


def test_a_run_that_has_not_measured_pixels_says_so(evidence):
    older = variant(baselines={"random_init_knn": 0.15})
    found = evidence(byol=older, barlow_twins=older)
    for name, owner in (("byol-vs-simsiam", "byol"), ("barlow-no-tricks", "barlow_twins")):
        assert undecided(record(found, name), f"evaluations/ssl/{owner}/results.npz", "pixel_knn_correct")
    assert record(found, "predictor")["verdict"] == YES


def test_a_number_that_was_not_measured_is_named(evidence):
    for name, key in [
        ("vae-blurry", "recognisability"),
        ("vae-latents", "top_latents_share"),
        ("vae-interpolation", "interpolation_smoothness"),
        ("ddpm-beats-vae", "frechet_distance"),
    ]:
        numbers = {k: value for k, value in vae_numbers().items() if k != key}
        assert undecided(record(evidence(vae=numbers), name), "metrics/vae.json", key)
        assert undecided(record(evidence(vae=vae_numbers() | {key: None}), name), "metrics/vae.json", key)
        assert undecided(record(evidence(vae=vae_numbers() | {"intervals": {}}), name), "metrics/vae.json")


def test_times_that_were_not_restored_are_named(evidence):
    claims = decide(evidence(ddpm=ddpm_numbers() | {"restoration": []}), LIMITS)
    assert undecided(claims[4], "t = 30") and undecided(claims[5], "t = 120")


@pytest.mark.parametrize("epochs", [1, 2])
def test_one_epoch_or_two_have_no_steadiness(epochs, evidence):
    assert undecided(record(evidence(seconds=(9.0, 9.1)[:epochs]), "vae-wall-clock"), "takes three of them")


def test_results_of_other_images_are_refused(evidence):
    with pytest.raises(InputError, match=r"evaluations/ssl/simsiam/results.npz: its 1000 images .* evaluate_ssl again"):
        decide(evidence(no_predictor=variant((0.2, 0.2), images=900)), LIMITS)


def test_variants_are_compared_on_the_first_seeds_that_both_have(evidence):
    found = evidence(simsiam=variant((0.60, 0.61, 0.1, 0.1), stds=(0.9,) * 4, losses=(-0.7,) * 4, ranks=(50,) * 4))
    difference = knn_difference(found, "no_predictor", "simsiam")
    assert difference.seeds == 2 and difference.estimate.value == pytest.approx(-0.46)
    for name, said in (("predictor", True), ("heavy-augmentation", True), ("vicreg-terms", False)):
        assert ("Differences are over the seeds that both sides have" in record(found, name)["finding"]) == said


# --- How many seeds ---


def seeds_told(claim: dict) -> int:
    told = int(re.search(r"About ([\d,]+) seeds would decide it", claim["finding"])[1].replace(",", ""))
    assert claim["evidence"]["seeds_that_would_decide"] == told
    return told


def test_an_open_claim_tells_the_seeds_that_would_decide_it(evidence):
    found = evidence(no_predictor=variant((0.30, 0.60)))
    values = knn_difference(found, "no_predictor", "simsiam").values
    assert seeds_told(record(found, "predictor")) == seeds_to_exclude(values, -0.05, 0.95) > 2
    assert "seeds_that_would_decide" not in record(evidence(), "predictor")["evidence"]


def test_of_several_open_questions_the_one_that_needs_most_seeds_counts(evidence):
    one = evidence(asymsiam=variant((0.59, 0.65)))
    both = evidence(asymsiam=variant((0.59, 0.65)), asymsiam_reverse=variant((0.45, 0.68)))
    assert seeds_told(record(one, "asymmetry")) < seeds_told(record(both, "asymmetry"))


def test_a_wider_projector_that_makes_little_difference_may_be_told_sooner_as_none(evidence):
    """Half a point of gain with little spread: that it is less than one point shows before that it is any."""
    claim = record(evidence(projector_4096=variant((0.594, 0.621), dim=1024)), "dim-4096")
    values = knn_difference(
        evidence(projector_4096=variant((0.594, 0.621), dim=1024)), "projector_4096", "simsiam"
    ).values
    ways = [seeds_to_exclude(values, threshold, 0.95) for threshold in (0.0, -0.01, 0.01)]
    assert claim["verdict"] == OPEN and seeds_told(claim) == max(ways[1:])
    assert ways[0] is None or ways[0] > max(ways[1:])


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("vicreg-terms", {"vicreg_no_covariance": variant(ranks=(12.0, 54.0))}),
        ("stop-gradient", {"no_stop_gradient": variant(**COLLAPSED | {"stds": (0.2, 0.9)})}),
        ("asymmetry", {"asymsiam": variant((0.58, 0.63))}),  # no difference at all from (0.60, 0.61)
    ],
)
def test_where_no_number_of_seeds_would_decide_a_claim_it_says_so(name, changes, evidence):
    claim = record(evidence(**changes), name)
    assert "No number of seeds would decide it" in claim["finding"] and claim["verdict"] == OPEN
    assert "seeds_that_would_decide" not in claim["evidence"]


def test_one_seed_cannot_tell_how_many_it_takes(evidence):
    alone = {"stds": (0.9,), "losses": (-0.7,), "ranks": (50.0,)}
    found = evidence(simsiam=variant((0.6,), **alone), no_predictor=variant((0.552,), **alone))
    assert record(found, "predictor")["finding"].endswith("takes a second one to tell.")


# --- What the rivals' findings tell ---


def test_barlow_twins_is_told_by_the_sizes_of_its_recipes_and_not_by_names(evidence):
    finding = record(evidence(barlow_wide=variant((0.66, 0.67), dim=777)), "barlow-no-tricks")["finding"]
    assert "output of 777 dimensions" in finding and "1024" not in finding
    assert "against batches of 128" in finding and "against batches of 256" in finding


def test_the_best_of_what_has_learned_nothing_is_named(evidence):
    finding = record(evidence(), "byol-vs-simsiam")["finding"].replace("\u00a0", " ")
    assert "BYOL reaches 64.5 % by kNN, +24.5 points" in finding and "pixels with 40.0 %" in finding
    raw = variant(baselines=BASELINES | {"raw_pixel_knn": 0.5})
    assert "raw pixels with 50.0 %" in record(evidence(byol=raw), "byol-vs-simsiam")["finding"].replace("\u00a0", " ")


def test_byol_and_simsiam_are_compared_at_equal_images_and_at_equal_seconds(evidence):
    """After 20 s SimSiam has ended at 60.5 %; BYOL, at 12.5 s an epoch, is 0.6 of the way from 32.25 to 64.5 %."""
    numbers = record(evidence(), "byol-vs-simsiam")["evidence"]
    assert numbers["at_equal_images_knn_accuracy"] == pytest.approx(0.04)
    assert numbers["at_equal_seconds_knn_accuracy"] == pytest.approx(0.3225 + 0.6 * 0.3225 - 0.605)


# --- The file ---


def test_each_claim_has_one_record_of_the_same_keys_in_the_order_of_the_claims(evidence):
    found = evidence()
    records = decide(found, LIMITS)
    assert [claim["id"] for claim in records] == IDS
    assert all(list(claim) == KEYS for claim in records)
    assert all(isinstance(number, int | float) for claim in records for number in claim["evidence"].values())
    assert json.loads(json.dumps(records, allow_nan=False)) == records == decide(found, LIMITS)
    assert counts(records) == {YES: len(CASES), NO: 0, OPEN: 0}


def test_each_claim_names_figures_of_its_own_study():
    owner = {figure.number: study.slug for study in STUDIES for figure in study.figures}
    for study in STUDIES:
        for claim in study.claims:
            allowed = {"vae", "ddpm"} if claim.id == "ddpm-beats-vae" else {study.slug}
            assert {owner[number] for number in figures_of(claim)} <= allowed, claim.id
            assert figures_of(claim), claim.id


def test_every_slug_that_a_claim_names_is_that_of_a_figure():
    slugs = [figure.slug for study in STUDIES for figure in study.figures]
    lost = [(claim.id, name) for claim in CLAIMS for name in claim.figures if not fnmatch.filter(slugs, name)]
    assert lost == []


def test_conditions_combine_as_kleene_has_it():
    assert [every(True, True), every(True, None), every(None, False), every(True, False)] == [True, None, False, False]
    assert [unanimous(True, True), unanimous(False, False), unanimous(True, False)] == [True, False, None]
    assert [unanimous(None, None), unanimous(True, None)] == [None, None]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the stage reads, in the current folder, with the settings of params.yaml."""
    write_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_stage_writes_every_record_and_prints_the_count(project: Path, capsys):
    runpy.run_path(str(ROOT / "stages/decide_claims.py"))["main"]()
    records = json.loads((project / "metrics/claims.json").read_text())
    assert [(claim["id"], claim["verdict"]) for claim in records] == [(name, YES) for name in IDS]
    assert all((project / path).exists() for claim in records for path in claim["sources"])
    said = f"claims: {len(CASES)} reproduced, 0 not reproduced, 0 inconclusive\n"
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
def test_a_missing_or_damaged_file_is_named_in_one_line(project: Path, path: str, content: str | None, evidence):
    (project / path).unlink() if content is None else (project / path).write_text(content)
    with pytest.raises(InputError, match=rf"^{re.escape(path)}: [^\n]+$"):
        decide(of_run(Path()), LIMITS)


def test_images_without_labels_have_no_latents_of_classes(evidence):
    assert undecided(record(evidence(latents=LATENTS[:0]), "vae-latents"), "plots/vae/latents.csv holds no class")
