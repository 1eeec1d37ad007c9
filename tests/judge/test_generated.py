"""One set of measures for every generative study: what they say of images whose worth is known."""

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
    sees = judge()
    real = RealImages(dataset(), sees, len(images))
    return measure_generated(images, sees(images), real, evaluation(), Resampling(0, 0.95, 20, "test"))


def test_the_test_images_themselves_are_at_no_distance_and_cover_everything():
    found = measured(np.array(dataset().test.images))
    assert found["frechet_distance"].value == pytest.approx(0, abs=1e-6)
    assert found["precision"].value == found["recall"].value == 1
    assert found["sharpness_ratio"].value == pytest.approx(1)
    assert found["recognisability"].value == found["real_recognisability"]
    assert found["samples"] == 80


def test_training_images_are_what_the_floors_say():
    found = measured(np.array(dataset().train.images))
    assert found["frechet_distance"].value == pytest.approx(found["frechet_floor"])
    assert found["precision"].value == found["real_precision"]
    assert found["recall"].value == found["real_recall"]


def test_precision_and_recall_are_of_as_many_images_as_a_manifold_takes():
    sees, images, most = judge(), pictures(70, seed=5), 30
    real = RealImages(dataset(), sees, len(images))
    settings = evaluation().model_copy(update={"manifold_images": most})
    found = measure_generated(images, sees(images), real, settings, Resampling(0, 0.95, 20, "test"))
    generated, test, train = (Manifold(s.features[:most], 3) for s in (sees(images), real.test, real.train))
    precision, recall = precision_recall(generated, test)
    assert len(precision) == len(recall) == most
    assert (found["precision"].value, found["recall"].value) == (precision.mean(), recall.mean())
    assert [found[f"real_{name}"] for name in ("precision", "recall")] == [
        inside.mean() for inside in precision_recall(train, test)
    ]


def test_one_image_over_and_over_recalls_nothing_and_a_flat_one_is_not_sharp():
    real = dataset().test.images
    repeated = measured(np.repeat(real[:1], 80, axis=0))
    assert repeated["recall"].value < 0.1 and repeated["frechet_distance"].value > repeated["frechet_floor"]
    flat = measured(np.full((80, 3, 32, 32), 90, np.uint8))
    assert flat["sharpness_ratio"].value == pytest.approx(0) and flat["median_spread"] == pytest.approx(0)
    black = measured(np.zeros((80, 3, 32, 32), np.uint8))
    assert black["clipped_share"] == 1


def test_intervals_hold_their_values_and_the_judge_sees_each_image_once():
    seen = []

    class Counting:
        def __init__(self) -> None:
            self.sees = judge()

        def __call__(self, images: np.ndarray):
            seen.append(len(images))
            return self.sees(images)

    counting, images = Counting(), pictures(70, seed=5)
    real = RealImages(dataset(), counting, len(images))
    found = measure_generated(images, counting(images), real, evaluation(), Resampling(0, 0.95, 20, "test"))
    assert seen == [80, 70, 70]
    estimates = {key: number for key, number in found.items() if isinstance(number, Estimate)}
    assert set(estimates) >= {"frechet_distance", "recognisability", "sharpness_ratio", "precision", "recall"}
    assert all(number.low <= number.value <= number.high for number in estimates.values())


def test_committed_samples_are_images():
    """Never black, of one colour or clipped all over: such a run may not be committed."""
    for study in ("vae", "ddpm"):
        numbers = json.loads((ROOT / f"metrics/{study}.json").read_text())
        assert numbers["clipped_share"] < 0.5, study
        assert numbers["median_spread"] > 0.05, study
        assert 0 < numbers["recognisability"] <= 1, study
