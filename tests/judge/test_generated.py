"""Measures of generated images, on images of known quality."""

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_generative import dataset, evaluation, judge
from toy_images import pictures

from triptych.judge.generated import RealImages, measure_generated
from triptych.measures.distributions import Manifold, precision_recall
from triptych.measures.estimate import Estimate
from triptych.measures.intervals import Resampling

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("one_thread")


def measured(images: np.ndarray) -> dict[str, float | Estimate]:
    the_judge = judge()
    real = RealImages(dataset(), the_judge, len(images))
    return measure_generated(images, the_judge(images), real, evaluation(), Resampling(0, 0.95, 20, "test"))


def test_the_test_images_have_distance_zero_and_perfect_precision_and_recall():
    result = measured(np.array(dataset().test.images))
    assert result["frechet_distance"].value == pytest.approx(0, abs=1e-6)
    assert result["precision"].value == result["recall"].value == 1
    assert result["sharpness_ratio"].value == pytest.approx(1)
    assert result["recognisability"].value == result["real_recognisability"]
    assert result["samples"] == 80


def test_training_images_give_the_values_of_real_images():
    result = measured(np.array(dataset().train.images))
    assert result["frechet_distance"].value == pytest.approx(result["frechet_floor"])
    assert result["precision"].value == result["real_precision"]
    assert result["recall"].value == result["real_recall"]


def test_precision_and_recall_use_at_most_manifold_images():
    the_judge, images, most = judge(), pictures(70, seed=5), 30
    real = RealImages(dataset(), the_judge, len(images))
    settings = evaluation().model_copy(update={"manifold_images": most})
    result = measure_generated(images, the_judge(images), real, settings, Resampling(0, 0.95, 20, "test"))
    generated, test, train = (Manifold(s.features[:most], 3) for s in (the_judge(images), real.test, real.train))
    precision, recall = precision_recall(generated, test)
    assert len(precision) == len(recall) == most
    assert (result["precision"].value, result["recall"].value) == (precision.mean(), recall.mean())
    assert [result[f"real_{name}"] for name in ("precision", "recall")] == [
        inside.mean() for inside in precision_recall(train, test)
    ]


def test_a_repeated_image_has_low_recall_and_a_flat_one_is_not_sharp():
    real = dataset().test.images
    repeated = measured(np.repeat(real[:1], 80, axis=0))
    assert repeated["recall"].value < 0.1 and repeated["frechet_distance"].value > repeated["frechet_floor"]
    flat = measured(np.full((80, 3, 32, 32), 90, np.uint8))
    assert flat["sharpness_ratio"].value == pytest.approx(0) and flat["median_spread"] == pytest.approx(0)
    black = measured(np.zeros((80, 3, 32, 32), np.uint8))
    assert black["clipped_share"] == 1


def test_intervals_contain_their_values_and_the_judge_is_applied_once_per_set():
    seen = []

    class Counting:
        def __init__(self) -> None:
            self.the_judge = judge()

        def __call__(self, images: np.ndarray):
            seen.append(len(images))
            return self.the_judge(images)

    counting, images = Counting(), pictures(70, seed=5)
    real = RealImages(dataset(), counting, len(images))
    result = measure_generated(images, counting(images), real, evaluation(), Resampling(0, 0.95, 20, "test"))
    assert seen == [80, 70, 70]
    estimates = {key: number for key, number in result.items() if isinstance(number, Estimate)}
    assert set(estimates) >= {"frechet_distance", "recognisability", "sharpness_ratio", "precision", "recall"}
    assert all(number.low <= number.value <= number.high for number in estimates.values())


def test_committed_samples_are_not_degenerate():
    """A run whose samples are black, of one colour or clipped must not be committed."""
    for study in ("vae", "ddpm"):
        numbers = json.loads((ROOT / f"metrics/{study}.json").read_text())
        assert numbers["clipped_share"] < 0.5, study
        assert numbers["median_spread"] > 0.05, study
        assert 0 < numbers["recognisability"] <= 1, study
