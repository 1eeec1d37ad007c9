"""Intervals equal independent references. test_coverage.py simulates their coverage."""

import numpy as np
import pytest
from scipy import stats

from triptych.measures.estimate import Estimate, SeedRange
from triptych.measures.intervals import Resampling, difference, mean, proportion, variance_parts


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def resampling(seed: int = 0, level: float = 0.95, draws: int = 200) -> Resampling:
    return Resampling(seed, level, draws, "test")


def bounds(estimate: Estimate) -> tuple[float, float]:
    return estimate.low, estimate.high


def test_the_interval_of_a_mean_is_that_of_a_t_test():
    values = np.random.default_rng(1).gamma(2.0, size=40)
    known = stats.ttest_1samp(values, 0.0).confidence_interval(0.9)
    for found in (mean(values, 0.9), resampling(level=0.9).mean(values)):
        assert (found.value, *bounds(found)) == pytest.approx((values.mean(), known.low, known.high))


def test_the_mean_of_equal_values_and_of_a_single_one_has_no_width():
    assert mean(np.full(5, 0.5), 0.95) == Estimate(0.5, 0.5, 0.5)
    assert mean(np.array([0.3]), 0.95) == Estimate(0.3, 0.3, 0.3)


def test_the_interval_of_a_mean_keeps_its_digits_in_short_floats():
    values = 1000 + np.random.default_rng(1).normal(size=2000)
    short, wide = (mean(values.astype(kind), 0.95) for kind in (np.float32, np.float64))
    assert short.high - short.low == pytest.approx(wide.high - wide.low, rel=1e-3)
    assert short.value == pytest.approx(wide.value, abs=1e-5)


def test_an_interval_of_a_ratio_is_that_of_resampling_one_by_one():
    rng = np.random.default_rng(1)
    above, below, draw = rng.gamma(2.0, size=40), rng.gamma(4.0, size=30), np.random.default_rng(2)
    ratios = [draw.choice(above, 40).mean() / draw.choice(below, 30).mean() for _ in range(4000)]
    found = resampling(level=0.9, draws=4000).ratio(above, below, "ratio")
    assert found.value == pytest.approx(above.mean() / below.mean())
    assert bounds(found) == pytest.approx(np.percentile(ratios, [5, 95]), rel=0.02)


def test_yes_and_no_answers_have_intervals_within_zero_and_one():
    none, all_of_them = (proportion(np.full(50, answer), 0.95) for answer in (False, True))
    assert bounds(none) == pytest.approx((0, 0.0713), abs=1e-4)  # Wilson's: z² / (n + z²)
    assert bounds(all_of_them) == pytest.approx((0.9287, 1), abs=1e-4)


def test_resamples_follow_the_seed_the_owner_and_the_purpose_and_nothing_else():
    values, ones = numbers(30), np.ones(30)
    one = resampling().ratio(values, ones, "a")
    others = [
        resampling(seed=1).ratio(values, ones, "a"),
        resampling().ratio(values, ones, "b"),
        Resampling(0, 0.95, 200, "other").ratio(values, ones, "a"),
    ]
    again = resampling()
    again.ratio(values, ones, "b")
    assert again.ratio(values, ones, "a") == one
    assert one not in others


def test_an_interval_of_a_biased_statistic_lies_around_it_and_not_below_zero():
    """Resamples repeat points, which reduces their spread, so the draws are shifted back to the estimate."""
    values = numbers(40)
    spread = float(values.std())
    found = resampling(draws=400).recentred(spread, lambda rows: float(values[rows].std()), 40, "spread")
    draws = [values[rows].std() for rows in np.random.default_rng(1).integers(0, 40, (4000, 40))]
    assert found.value == spread
    assert bounds(found) == pytest.approx(np.percentile(draws, [2.5, 97.5]) - np.mean(draws) + spread, abs=0.04)
    near_zero = resampling().recentred(0.01, lambda rows: float(values[rows].mean() ** 2), 40, "square")
    assert near_zero.low == 0


def test_an_estimate_of_draws_has_their_central_share_as_interval():
    found = resampling(level=0.9).percentile(3.0, np.arange(101.0))
    assert (found.value, *bounds(found)) == pytest.approx((3.0, 5.0, 95.0))


# --- Intervals over seeds and images ---


def accuracies(rng: np.random.Generator, seeds: int, seed_std: float, images: int = 200) -> np.ndarray:
    """Return values (seeds, images) around 0.6 that differ over images (difficulty) and over seeds (training)."""
    difficulty = rng.normal(0, 0.3, images)
    return 0.6 + rng.normal(0, seed_std, (seeds, 1)) + difficulty + rng.normal(0, 0.1, (seeds, images))


def test_with_one_seed_the_interval_is_the_images_own():
    values = accuracies(np.random.default_rng(0), 1, 0.0)
    found = resampling(level=0.9, draws=4000).seeded(values)
    known = stats.t.interval(0.9, values.size - 1, values.mean(), stats.sem(values[0]))
    assert bounds(found) == pytest.approx(known, rel=0.01)


def test_where_images_agree_the_interval_is_that_of_the_seeds():
    means = np.array([0.5, 0.6, 0.64])
    found = resampling().seeded(np.repeat(means[:, None], 50, axis=1))
    known = stats.t.interval(0.95, 2, means.mean(), stats.sem(means))
    assert found.value == pytest.approx(means.mean())
    assert bounds(found) == pytest.approx(known)


def test_seeds_that_differ_widen_the_interval():
    values = accuracies(np.random.default_rng(0), 3, 0.0)
    apart = values + np.array([[-0.1], [0.0], [0.1]])
    agree, differ = (resampling().seeded(x) for x in (values, apart))
    assert differ.low < agree.low - 0.1 and differ.high > agree.high + 0.1


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_an_interval_without_variation_is_a_point(seeds):
    assert resampling().seeded(np.ones((seeds, 30), dtype=bool)) == Estimate(1.0, 1.0, 1.0)


def test_accuracies_of_two_seeds_have_the_range_of_their_values():
    values = accuracies(np.random.default_rng(0), 2, 0.05)
    found = resampling().accuracies({"knn": values})["knn_accuracy"]
    assert isinstance(found, SeedRange) and not found.is_interval
    assert [found.low, found.high] == sorted(values.mean(axis=1).tolist())


def test_the_variance_of_the_mean_counts_the_noise_of_a_seed_and_image_once():
    """In 2,000 simulated tables, the estimated variance is on average that of the tables' means."""
    rng = np.random.default_rng(0)
    tables = [
        0.02 * rng.normal(size=(3, 1)) + 0.3 * rng.normal(size=60) + 0.5 * rng.normal(size=(3, 60)) for _ in range(2000)
    ]
    true = 0.02**2 / 3 + 0.3**2 / 60 + 0.5**2 / 180
    estimated = np.mean([sum(part for part, _ in variance_parts(table)) for table in tables])
    assert np.var([table.mean() for table in tables]) == pytest.approx(true, rel=0.1)
    assert estimated == pytest.approx(true, rel=0.1)


# --- Differences ---


def test_the_difference_of_two_proportions_has_newcombe_s_interval():
    # Newcombe 1998, table II, example (a): 56 of 70 against 48 of 80, method 10.
    one, other = (proportion(np.arange(count) < right, 0.95) for right, count in ((56, 70), (48, 80)))
    found = difference(one, other)
    assert found.value == pytest.approx(0.2)
    assert bounds(found) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_the_difference_of_two_symmetric_intervals_is_the_normal_one():
    assert difference(Estimate(5.0, 2.0, 8.0), Estimate(1.0, -3.0, 5.0)) == Estimate(4.0, -1.0, 9.0)
    known = Estimate(1.0, 1.0, 1.0)
    assert difference(known, known) == Estimate(0.0, 0.0, 0.0)
