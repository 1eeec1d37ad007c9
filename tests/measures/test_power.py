"""With the computed number of seeds, the intervals of simulated runs decide."""

import numpy as np
import pytest
from scipy.stats import t as student

from triptych.measures.intervals import Resampling
from triptych.measures.power import seeds_to_exclude

LEVEL = 0.95


def scaled(mean: float, spread: float, seeds: int = 6, images: int = 3) -> np.ndarray:
    """Return values (seeds, images) whose means over images have exactly this mean and standard deviation."""
    rows = np.random.default_rng(0).standard_normal(seeds)
    rows = mean + spread * (rows - rows.mean()) / rows.std(ddof=1)
    return np.repeat(rows[:, None], images, axis=1)


@pytest.mark.parametrize(("mean", "spread"), [(0.03, 0.02), (0.05, 0.11), (-0.04, 0.05)])
def test_as_many_seeds_decide_four_simulated_runs_in_five_and_one_fewer_does_not(mean: float, spread: float):
    count = seeds_to_exclude(scaled(mean, spread), 0.0, LEVEL)
    rng = np.random.default_rng(1)

    def share(seeds: int) -> float:
        """Return the share of 20,000 simulated runs with a t interval on the true side of 0."""
        runs = rng.normal(mean, spread, (20_000, seeds))
        half = student.ppf((1 + LEVEL) / 2, seeds - 1) * runs.std(axis=1, ddof=1) / np.sqrt(seeds)
        return float(np.mean(np.abs(runs.mean(axis=1)) > half))

    assert count > 3
    assert share(count) > 0.79 and share(count - 1) < 0.81 and share(count // 2) < 0.75


def test_the_intervals_of_the_pipeline_decide_with_so_many_seeds():
    """Images differ here as well: each repetition of the experiment draws 60 images and measures all seeds on them."""
    rng = np.random.default_rng(2)
    images = rng.standard_normal(60)
    images = 0.22 * (images - images.mean()) / images.std(ddof=1)
    count = seeds_to_exclude(scaled(0.1, 0.15, images=60) + images, 0.0, LEVEL)
    resampling = Resampling(seed=0, level=LEVEL, draws=100, owner="test")
    decided = [
        resampling.seeded(0.1 + 0.22 * rng.standard_normal(60) + 0.15 * rng.standard_normal((count, 1)))
        for _ in range(400)
    ]
    assert 20 < count < 60  # 20 would be enough without the variance over images
    assert np.mean([found.above(0.0) is True for found in decided]) == pytest.approx(0.8, abs=0.06)


def test_no_number_of_seeds_moves_a_mean_off_its_threshold():
    assert seeds_to_exclude(scaled(0.02, 0.01), 0.02, LEVEL) is None
    assert seeds_to_exclude(np.full((3, 4), 0.5), 0.5, LEVEL) is None


def test_the_noise_of_a_seed_and_image_is_reduced_by_more_seeds():
    """Two encoders with accuracies of 80.6 and 80.0 % on 2,000 images, whose errors agree on hard images.

    Of the variance over images of four seeds' mean difference, most is noise of these seeds.
    """
    rng = np.random.default_rng(3)
    ease = rng.normal(0, 2, 2000)

    def difference(seeds: int) -> np.ndarray:
        shares = (1 / (1 + np.exp(-(ease + shift))) for shift in (2.135, 2.08))
        one, other = (rng.random((seeds, 2000)) < share for share in shares)
        return one.astype(float) - other

    counts = [seeds_to_exclude(difference(4), 0.0, LEVEL) for _ in range(20)]
    assert sum(count is not None and count < 200 for count in counts) > 10, counts


def test_images_that_leave_it_open_leave_it_open_with_any_number_of_seeds():
    images = 0.1 + np.array([-1.0, 1.0] * 20)
    values = np.stack([images, images + 0.02, images - 0.02])
    assert seeds_to_exclude(values, 0.0, LEVEL) is None
    assert seeds_to_exclude(values - 3, 0.0, LEVEL) is not None


def test_seeds_that_agree_need_no_more_than_two_and_nearer_thresholds_need_more():
    assert seeds_to_exclude(np.full((2, 5), 0.1), 0.0, LEVEL) == 2
    assert seeds_to_exclude(scaled(100.0, 0.01), 0.0, LEVEL) == 2
    needed = [seeds_to_exclude(scaled(mean, 0.05), 0.0, LEVEL) for mean in (0.1, 0.05, 0.02, 0.001)]
    assert needed == sorted(needed) and needed[-1] > 10_000
    assert seeds_to_exclude(scaled(0.05, 0.05), 0.0, LEVEL, power=0.9) > needed[1]


def test_one_seed_has_no_spread():
    with pytest.raises(ValueError, match="at least two seeds.*got 1"):
        seeds_to_exclude(np.ones((1, 9)), 0.0, LEVEL)
