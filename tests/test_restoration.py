"""Restoration and what measures it, precision and recall, and the whole study on a tiny model."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from test_diffusion import COSINE, Constant, process
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from triptych.core.errors import InputError
from triptych.core.model_files import save_weights
from triptych.core.schema import validate
from triptych.data.storage import Dataset, Split
from triptych.ddpm.params import DDPMEvaluation
from triptych.ddpm.patch_unet import PatchUNet
from triptych.ddpm.process import Diffusion, DiffusionObjective, linear_betas
from triptych.judge.network import Classifier
from triptych.measures.ddpm import DDPMStudy, Settings
from triptych.measures.judge import Judge
from triptych.measures.manifolds import precision_recall, squared_radii
from triptych.measures.params import EvaluationParams
from triptych.measures.similarity import psnr, ssim
from triptych.sampling.restoration import half_time, report_levels, restoration_strip, restore, steps_for

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
REPORT = Diffusion(linear_betas(1000, 1e-4, 0.02)).alpha_bars


def pictures(count: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Smooth random uint8 images."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, channels, 8, 8))
    return coarse.repeat(4, axis=2).repeat(4, axis=3).astype(np.uint8)


class Knowing(DiffusionObjective):
    """Answers with the images it was given, whatever it sees."""

    answer: Tensor

    def denoise(self, x: Tensor, alpha_bar: object) -> Tensor:
        return self.answer[: len(x)]


# Similarity -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_and_psnr_are_torchmetrics(channels: int) -> None:
    """torchmetrics mirrors the image beyond its borders; whole windows are its map without the outer 5 pixels."""
    a = pictures(5, channels)
    noisy = a + np.random.default_rng(1).normal(0, 25, a.shape)
    b = noisy.clip(0, 255).astype(np.uint8)
    x, y = (torch.from_numpy(i).double() for i in (a, b))
    _, places = structural_similarity_index_measure(x, y, data_range=255.0, reduction="none", return_full_image=True)
    np.testing.assert_allclose(ssim(a, b), places[..., 5:-5, 5:-5].mean(dim=(1, 2, 3)).numpy(), atol=1e-6)
    each = peak_signal_noise_ratio(x, y, data_range=255.0, reduction="none", dim=(1, 2, 3))
    np.testing.assert_allclose(psnr(a, b), each.numpy(), rtol=1e-6)


def test_an_image_is_most_similar_to_itself() -> None:
    a = pictures(3)
    np.testing.assert_allclose(ssim(a, a), 1)
    assert np.isfinite(psnr(a, a)).all()
    assert (psnr(a, a) > psnr(a, a ^ 1)).all()


# Restoration ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [None, COSINE])
def test_noise_is_that_of_the_reports_time_whatever_the_models_schedule(schedule: dict | None) -> None:
    """The mean squared change of the image is alpha_bar's, and a model that knows the image restores it."""
    images = np.full((8, 3, 32, 32), 128, np.uint8)
    method = Knowing(Constant(), process(**({"schedule": schedule} if schedule else {})))
    method.answer = torch.zeros(8, 3, 32, 32) + 128 / 127.5 - 1
    pair = restore(method, images, float(REPORT[30]), 30, seed=0, batch_size=8, device=CPU)
    # At mid-grey nothing is clipped: the noise's standard deviation is the report's 0.108, in 127.5 levels.
    assert np.std(pair.noised / 127.5) == pytest.approx(0.108, rel=0.02)
    assert np.array_equal(pair.restored, images)


def test_reverse_run_starts_at_the_time_of_equal_signal_to_noise() -> None:
    """t = 30 and 120 of the linear schedule lie at the cosine schedule's times whose noise is sigma .108 and .378."""
    cosine = DiffusionObjective(Constant(), process(schedule=COSINE)).diffusion
    for t, sigma in ((30, 0.108), (120, 0.378)):
        time = float(cosine.time_at(float(REPORT[t])))
        assert float(cosine.noise[round(time)]) == pytest.approx(sigma, abs=0.002)
    linear = DiffusionObjective(Constant(), process()).diffusion
    assert float(linear.time_at(float(REPORT[120]))) == pytest.approx(120, abs=1e-6)


def test_restoration_is_bit_identical_in_every_run() -> None:
    torch.manual_seed(0)
    method = DiffusionObjective(Constant(0.1), process())
    first, second = (restore(method, pictures(4), float(REPORT[60]), 10, 5, 2, CPU) for _ in range(2))
    assert np.array_equal(first.restored, second.restored)
    assert np.array_equal(first.noised, second.noised)


def test_strip_goes_from_the_image_to_noise_and_back() -> None:
    method = Knowing(Constant(), process())
    image = pictures(1)[0]
    method.answer = torch.from_numpy(image[None]).float() / 127.5 - 1
    strip = restoration_strip(method, image, report_levels(REPORT, 120, 7), 40, 7, seed=0, device=CPU)
    assert strip.forward.shape == strip.backward.shape == (7, 3, 32, 32)
    assert np.array_equal(strip.forward[0], image)
    assert np.array_equal(strip.forward[-1], strip.backward[0])
    assert np.array_equal(strip.backward[-1], image)
    distances = [float(psnr(image[None], state[None])[0]) for state in strip.forward]
    assert distances == sorted(distances, reverse=True)


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([1.0, 0.9, 0.3], (93.333, True)),
        ([0.9, 0.5, 0.2], (60, True)),
        ([0.2, 0.1, 0.1], (18.75, True)),
        ([1.0, 0.9, 0.6], (120, False)),
        ([0.9, 0.45, 0.6], (56.667, True)),
    ],
)
def test_half_time_is_where_half_of_the_digits_have_changed(shares: list[float], expected: tuple[float, bool]) -> None:
    time, reached = half_time([30, 60, 120], shares)
    assert reached is expected[1]
    if shares[0] == 0.9 and shares[1] == 0.45:
        assert 50 < time < 60
    elif shares == [1.0, 0.9, 0.3]:
        assert time == pytest.approx(100)
    else:
        assert time == pytest.approx(expected[0])


def test_steps_never_exceed_the_chains() -> None:
    assert steps_for(30, 50) == 30
    assert steps_for(500, 50) == 50


# Precision and recall -------------------------------------------------------------------------------------------------


def test_manifolds_are_balls_to_the_kth_neighbour() -> None:
    rng = np.random.default_rng(0)
    generated, real = rng.normal(0.3, 1.2, (90, 4)), rng.normal(0, 1, (110, 4))

    def covered(points: np.ndarray, manifold: np.ndarray, k: int) -> list[bool]:
        radii = [sorted(np.linalg.norm(manifold - centre, axis=1))[k] for centre in manifold]
        return [
            any(np.linalg.norm(p - centre) <= radius for centre, radius in zip(manifold, radii, strict=True))
            for p in points
        ]

    precision, recall = precision_recall(generated, real, 3)
    assert precision.tolist() == covered(generated, real, 3)
    assert recall.tolist() == covered(real, generated, 3)


def test_a_collapsed_generator_is_precise_and_recalls_nothing() -> None:
    rng = np.random.default_rng(1)
    real = rng.normal(size=(500, 8))
    collapsed = real[:1] + 1e-3 * rng.normal(size=(200, 8))
    precision, recall = precision_recall(collapsed, real, 3)
    assert precision.mean() == 1
    assert recall.mean() < 0.02


def test_blocks_do_not_change_radii(monkeypatch: pytest.MonkeyPatch) -> None:
    features = np.random.default_rng(2).normal(size=(300, 5))
    whole = squared_radii(features, 4)
    monkeypatch.setattr("triptych.measures.manifolds.BLOCK", 7)
    np.testing.assert_allclose(squared_radii(features, 4), whole)


# The whole study ------------------------------------------------------------------------------------------------------

EVALUATION = {
    "samples": 40,
    "sampler": {"name": "dpm_solver", "steps": 3},
    "bound": {"steps": 1000, "images": 8, "times": 5},
    "restoration": {
        "schedule": {"name": "linear", "steps": 1000, "first_beta": 0.0001, "last_beta": 0.02},
        "times": [30, 120, 500],
        "images": 20,
        "steps": 3,
        "strip_class": 4,
    },
    "neighbours": 3,
    "cost": [{"name": "ddim", "steps": 2, "samples": 20}, {"name": "heun", "steps": 2, "samples": 20}],
}
SHARED = {"batch_size": 16, "bootstrap": 10, "confidence_level": 0.95, "recognition_threshold": 0.8}


def study(precision: Callable[[], AbstractContextManager] = nullcontext) -> DDPMStudy:
    torch.manual_seed(0)
    network = PatchUNet((3, 32, 32), 2, [8, 16], [1, 1], [False, True], 1, 16, 16, 4)
    torch.nn.init.normal_(network.head.weight, std=0.05)
    labels = np.arange(60) % 10
    dataset = Dataset(
        Split(pictures(60), labels), Split(pictures(60, seed=1), labels), [str(i) for i in range(10)], "drawn", "none"
    )
    settings = Settings(
        0,
        validate(DDPMEvaluation, EVALUATION, "evaluation", Path("test")),
        validate(EvaluationParams, SHARED, "evaluation", Path("test")),
    )
    judge = Judge(Classifier(3, 10, 8, [1, 1], 2), CPU, 16)
    method = DiffusionObjective(network, process(schedule=COSINE, parameterisation="x0"))
    return DDPMStudy(method, judge, dataset, settings, CPU, precision)


def test_the_study_writes_the_contract_and_the_same_bits_each_time(tmp_path: Path) -> None:
    for run in ("first", "second"):
        one = study()
        folder = tmp_path / run
        for epoch in (1, 5):
            save_weights(folder / "snapshots" / f"epoch_{epoch:04d}.safetensors", one.method.network)
        one.measure(folder / "ddpm.json", folder / "plots")
        one.price(folder / "plots/sampling.csv", folder / "timing.json", {"device": "cpu"})
        one.draw(folder / "images.npz", folder / "snapshots")
    first, second = tmp_path / "first", tmp_path / "second"
    assert (first / "ddpm.json").read_bytes() == (second / "ddpm.json").read_bytes()
    assert (first / "plots/sampling.csv").read_bytes() == (second / "plots/sampling.csv").read_bytes()
    arrays, again = (np.load(folder / "images.npz", allow_pickle=False) for folder in (first, second))
    assert all(np.array_equal(arrays[name], again[name]) for name in arrays.files)

    numbers = json.loads((first / "ddpm.json").read_text())
    for key in ("vlb_bpd", "frechet_distance", "recognisability", "sharpness_ratio", "precision", "recall"):
        assert np.isfinite(numbers[key])
        assert numbers["intervals"][key]["low"] <= numbers[key] <= numbers["intervals"][key]["high"]
    assert [row["t"] for row in numbers["restoration"]] == [30, 120, 500]
    assert {"t", "same_class", "psnr", "ssim"} <= numbers["restoration"][0].keys()
    assert sum(numbers["vlb_parts_bpd"].values()) == pytest.approx(numbers["vlb_bpd"])
    assert isinstance(numbers["half_restored_reached"], bool)
    assert len(pd.read_csv(first / "plots/restoration.csv")) == 9
    # Same weights, same noise: the sheets of both epochs and the final samples agree.
    assert np.array_equal(arrays["samples_1"], arrays["samples_5"])
    assert np.array_equal(arrays["samples_5"][:5], arrays["final_samples"])
    assert arrays["strip_backward_120"].shape[0] >= 3
    assert {row["sampler"] for row in json.loads((first / "timing.json").read_text())["sampling"]} == {"ddim", "heun"}


def test_samples_are_drawn_in_the_given_precision_and_the_bound_is_not(tmp_path: Path) -> None:
    numbers = {}
    for name, one in (("float32", study()), ("bfloat16", study(partial(torch.autocast, "cpu", torch.bfloat16)))):
        one.measure(tmp_path / f"{name}.json", tmp_path / name)
        numbers[name] = json.loads((tmp_path / f"{name}.json").read_text())
    exact, half = numbers["float32"], numbers["bfloat16"]
    assert exact["vlb_bpd"] == half["vlb_bpd"]
    assert exact["restoration"][1]["psnr"] != half["restoration"][1]["psnr"]
    assert exact["restoration"][1]["psnr"] == pytest.approx(half["restoration"][1]["psnr"], abs=0.2)
    assert exact["frechet_distance"] != half["frechet_distance"]
    assert exact["frechet_distance"] == pytest.approx(half["frechet_distance"], rel=0.05)


@pytest.mark.parametrize(("weight", "words"), [(float("nan"), "not finite"), (1e4, "clipped"), (0.0, "one colour")])
def test_a_study_whose_samples_are_no_images_fails_and_leaves_no_metrics(
    weight: float, words: str, tmp_path: Path
) -> None:
    broken = study()
    torch.nn.init.constant_(broken.method.network.head.weight, 0.0)
    torch.nn.init.constant_(broken.method.network.head.bias, weight)
    with pytest.raises(InputError, match=words):
        broken.measure(tmp_path / "ddpm.json", tmp_path / "plots")
    assert not (tmp_path / "ddpm.json").exists()


@pytest.mark.skipif(not (ROOT / "metrics/ddpm.json").exists(), reason="no committed run of the study")
def test_committed_samples_are_images() -> None:
    """Never black, of one colour or clipped all over: such a run may not be committed."""
    numbers = json.loads((ROOT / "metrics/ddpm.json").read_text())
    assert numbers["clipped_share"] < 0.5
    assert numbers["median_spread"] > 0.05
    assert 0 < numbers["recognisability"] <= 1
