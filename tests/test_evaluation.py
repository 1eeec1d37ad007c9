"""Each measure equals an independent reference, and its interval covers what it should."""

import numpy as np
import pytest
import torch
from scipy import linalg, ndimage, stats

from triptych.core.model_files import save_model
from triptych.judge.network import Classifier
from triptych.measures.frechet import frechet_distance, frechet_interval, moments
from triptych.measures.judge import Judge
from triptych.measures.latents import active_units, class_table, step_evenness, top_share
from triptych.measures.sharpness import luminance, sharpness
from triptych.statistics.intervals import (
    difference_interval,
    generator,
    mean_interval,
    proportion_interval,
    ratio_interval,
    relative_spread,
    seeded_interval,
    spread_interval,
)


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


# --- Fréchet distance ---


def correlated(count: int, seed: int) -> np.ndarray:
    return numbers(count, 8, seed=seed) @ numbers(8, 8, seed=100 + seed) + seed


def test_the_frechet_distance_is_that_of_the_matrix_square_root():
    a, b = correlated(300, 1), correlated(200, 2)
    (mean_a, cov_a), (mean_b, cov_b) = ((x.mean(axis=0), np.cov(x, rowvar=False)) for x in (a, b))
    root = linalg.sqrtm(cov_a @ cov_b).real
    expected = np.square(mean_a - mean_b).sum() + np.trace(cov_a + cov_b - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_the_frechet_distance_is_zero_between_equals_and_symmetric():
    a, b = correlated(300, 1), correlated(200, 2)
    scale = np.trace(moments(a)[1])
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6 * scale)
    assert frechet_distance(a, a[::-1]) == pytest.approx(0, abs=1e-6 * scale)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))


def test_a_shift_costs_its_square_and_a_scale_the_square_of_its_difference():
    a = correlated(500, 1)
    assert frechet_distance(a, a + 2.0) == pytest.approx(4.0 * a.shape[1], rel=1e-5)
    centred = a - a.mean(axis=0)
    assert frechet_distance(centred, 3 * centred) == pytest.approx(4 * np.trace(moments(a)[1]), rel=1e-5)


def test_fewer_images_than_features_and_dead_features_are_no_obstacle():
    few, many = numbers(5, 20).astype(np.float32), numbers(50, 20, seed=1).astype(np.float32)
    many[:, :7] = 0
    assert np.isfinite(frechet_distance(few, many)) and frechet_distance(few, many) > 0


def test_the_interval_of_the_frechet_distance_holds_the_estimate_and_narrows_with_more_images():
    reference = correlated(500, 2)
    widths = []
    for count in (60, 600):
        features = correlated(count, 1)
        interval = frechet_interval(features, reference, 0.95, 100, np.random.default_rng(0))
        assert 0 <= interval["low"] < frechet_distance(features, reference) < interval["high"]
        widths.append(interval["high"] - interval["low"])
    assert widths[1] < 0.6 * widths[0]


# --- Intervals ---


def coverage(interval_of, truth: float, trials: int = 200) -> float:
    """Share of trials whose interval holds the truth; each trial draws data of its own."""
    intervals = [interval_of(np.random.default_rng(trial)) for trial in range(trials)]
    return float(np.mean([interval["low"] <= truth <= interval["high"] for interval in intervals]))


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_intervals_of_a_mean_cover_it_as_often_as_they_say(level):
    def interval_of(rng: np.random.Generator) -> dict[str, float]:
        return mean_interval(rng.exponential(2.0, 80), level, 200, rng)

    assert coverage(interval_of, truth=2.0) == pytest.approx(level, abs=0.07)


def test_intervals_of_a_ratio_cover_it():
    def interval_of(rng: np.random.Generator) -> dict[str, float]:
        return ratio_interval(rng.normal(3, 1, 60), rng.normal(2, 0.5, 90), 0.9, 200, rng)

    assert coverage(interval_of, truth=1.5) == pytest.approx(0.9, abs=0.07)


def test_an_interval_is_that_of_resampling_one_by_one():
    values, rng = np.random.default_rng(1).gamma(2.0, size=40), np.random.default_rng(2)
    means = [rng.choice(values, len(values)).mean() for _ in range(4000)]
    low, high = np.percentile(means, [5, 95])
    interval = mean_interval(values, 0.9, 4000, np.random.default_rng(3))
    assert interval["low"] == pytest.approx(low, rel=0.02) and interval["high"] == pytest.approx(high, rel=0.02)


def test_yes_and_no_answers_have_intervals_within_zero_and_one():
    rng = np.random.default_rng(0)
    answers = np.arange(50) < 45
    interval = mean_interval(answers, 0.95, 500, rng)
    assert 0.7 < interval["low"] < 0.9 < interval["high"] <= 1
    assert mean_interval(np.ones(50, dtype=bool), 0.95, 50, rng) == {"low": 1.0, "high": 1.0}


def test_resamples_follow_the_seed_and_the_purpose():
    values = numbers(30)
    one, again, other_seed, other_purpose = (
        mean_interval(values, 0.9, 50, generator(*stream)) for stream in [(0, "a"), (0, "a"), (1, "a"), (0, "b")]
    )
    assert one == again and one != other_seed and one != other_purpose


def test_intervals_of_a_relative_spread_cover_it_and_do_not_follow_the_unit():
    def interval_of(rng: np.random.Generator) -> dict[str, float]:
        return spread_interval(rng.normal(10, 1, 60), 0.9, 200, rng)

    assert coverage(interval_of, truth=0.1) == pytest.approx(0.9, abs=0.08)
    values = np.random.default_rng(1).normal(10, 1, 30)
    assert relative_spread(values) == pytest.approx(values.std(ddof=1) / values.mean())
    seconds, hours = (spread_interval(x, 0.9, 50, np.random.default_rng(0)) for x in (values, values / 3600))
    assert seconds == pytest.approx(hours)
    assert spread_interval(np.full(5, 9.1), 0.9, 50, np.random.default_rng(0)) == pytest.approx({"low": 0, "high": 0})


# --- Intervals over seeds and images ---


def accuracies(rng: np.random.Generator, seeds: int, seed_std: float, images: int = 200) -> np.ndarray:
    """(seeds, images) values around 0.6: images differ in difficulty, and seeds in what they learned."""
    difficulty = rng.normal(0, 0.3, images)
    return 0.6 + rng.normal(0, seed_std, (seeds, 1)) + difficulty + rng.normal(0, 0.1, (seeds, images))


@pytest.mark.parametrize(("seeds", "seed_std"), [(1, 0.0), (2, 0.03), (3, 0.03), (5, 0.1)])
def test_intervals_over_seeds_and_images_cover_the_mean_of_other_seeds_and_images(seeds, seed_std):
    def interval_of(rng: np.random.Generator) -> dict[str, float]:
        return seeded_interval(accuracies(rng, seeds, seed_std), 0.9, 100, rng)

    # A cautious interval may cover more; with two seeds, Welch's approximation does.
    assert 0.86 <= coverage(interval_of, truth=0.6, trials=400) <= 0.97


def test_with_one_seed_the_interval_is_the_images_own():
    values = accuracies(np.random.default_rng(0), 1, 0.0)
    interval = seeded_interval(values, 0.9, 4000, np.random.default_rng(1))
    known = stats.t.interval(0.9, values.size - 1, values.mean(), stats.sem(values[0]))
    assert (interval["low"], interval["high"]) == pytest.approx(known, rel=0.01)


def test_where_images_agree_the_interval_is_that_of_the_seeds():
    means = np.array([0.5, 0.6, 0.64])
    interval = seeded_interval(np.repeat(means[:, None], 50, axis=1), 0.95, 100, np.random.default_rng(0))
    known = stats.t.interval(0.95, 2, means.mean(), stats.sem(means))
    assert (interval["low"], interval["high"]) == pytest.approx(known)


def test_seeds_that_differ_widen_the_interval():
    values = accuracies(np.random.default_rng(0), 2, 0.0)
    apart = values + np.array([[-0.1], [0.1]])
    agree, differ = (seeded_interval(x, 0.95, 100, np.random.default_rng(0)) for x in (values, apart))
    assert differ["low"] < agree["low"] - 0.1 and differ["high"] > agree["high"] + 0.1


@pytest.mark.parametrize("seeds", [1, 2])
def test_an_interval_without_variation_is_a_point(seeds):
    interval = seeded_interval(np.ones((seeds, 30), dtype=bool), 0.95, 50, np.random.default_rng(0))
    assert interval == {"low": 1.0, "high": 1.0}


def test_the_difference_of_two_proportions_has_newcombe_s_interval():
    # Newcombe 1998, table II, example (a): 56 of 70 against 48 of 80, method 10.
    one, other = np.arange(70) < 56, np.arange(80) < 48
    interval = difference_interval(
        one.mean(), proportion_interval(one, 0.95), other.mean(), proportion_interval(other, 0.95)
    )
    assert (interval["low"], interval["high"]) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_the_difference_of_two_symmetric_intervals_is_the_normal_one():
    interval = difference_interval(5.0, {"low": 2.0, "high": 8.0}, 1.0, {"low": -3.0, "high": 5.0})
    assert interval == {"low": -1.0, "high": 9.0}
    known = {"low": 1.0, "high": 1.0}
    assert difference_interval(1.0, known, 1.0, known) == {"low": 0.0, "high": 0.0}


# --- Sharpness ---


def test_luminance_is_pillow_s():
    from PIL import Image

    images = pixels(2, 3, 6, 6)
    grey = np.asarray(Image.fromarray(images[0].transpose(1, 2, 0)).convert("L"))
    np.testing.assert_allclose(luminance(images)[0] * 255, grey, atol=1)
    np.testing.assert_allclose(luminance(images[:, :1])[0] * 255, images[0, 0])


def test_sharpness_is_the_variance_of_the_laplacian():
    images = pixels(3, 1, 7, 9)
    padded = np.pad(images[:, 0] / 255, ((0, 0), (1, 1), (1, 1)), mode="edge")
    centre = padded[:, 1:-1, 1:-1]
    sides = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
    np.testing.assert_allclose(sharpness(images), (sides - 4 * centre).var(axis=(1, 2)))


def test_sharpness_falls_with_every_blur_and_is_zero_on_a_wall():
    images = pixels(4, 3, 32, 32)
    blurred = [ndimage.gaussian_filter(images, (0, 0, sigma, sigma)) for sigma in (0.5, 1, 2)]
    measured = np.stack([sharpness(level) for level in (images, *blurred)])
    assert (np.diff(measured, axis=0) < 0).all()
    assert sharpness(np.full((1, 3, 8, 8), 77, np.uint8)) == pytest.approx(0, abs=1e-20)


# --- The judge ---


@pytest.fixture
def classifier(one_thread) -> Classifier:
    torch.manual_seed(0)
    return Classifier(in_channels=3, classes=4, width=4, blocks=[1, 1], stem_stride=2).eval()


def test_the_judge_sees_the_same_in_batches_of_any_size(classifier):
    images = pixels(11, 3, 16, 16)
    whole = Judge(classifier, torch.device("cpu"), batch_size=11)(images)
    for size in (1, 4, 100):
        parts = Judge(classifier, torch.device("cpu"), batch_size=size)(images)
        np.testing.assert_allclose(parts.features, whole.features, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(parts.probabilities, whole.probabilities, rtol=1e-4, atol=1e-5)


def test_the_judge_gives_the_network_s_probabilities_of_images_between_minus_one_and_one(classifier):
    images = pixels(5, 3, 16, 16)
    verdicts = Judge(classifier, torch.device("cpu"), batch_size=2)(images)
    with torch.no_grad():
        logits = classifier(torch.from_numpy(images).float() / 127.5 - 1)
    expected = logits.softmax(dim=1).numpy()
    np.testing.assert_allclose(verdicts.probabilities, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(verdicts.probabilities.sum(axis=1), 1, rtol=1e-5)
    assert verdicts.features.shape == (5, classifier.backbone.feature_size)
    assert verdicts.classes().tolist() == expected.argmax(axis=1).tolist()
    threshold = float(np.median(expected.max(axis=1)))
    assert verdicts.recognised(threshold).sum() == (expected.max(axis=1) >= threshold).sum()


def test_the_judge_is_the_same_from_its_files(tmp_path, classifier):
    config = {"network": {"in_channels": 3, "classes": 4, "width": 4, "blocks": [1, 1], "stem_stride": 2}}
    save_model(tmp_path, classifier, config)
    images = pixels(3, 3, 16, 16)
    loaded = Judge.load(tmp_path, torch.device("cpu"), 3)(images)
    direct = Judge(classifier, torch.device("cpu"), 3)(images)
    np.testing.assert_allclose(loaded.probabilities, direct.probabilities, rtol=1e-5)


# --- Latents and paths ---


def test_shares_of_a_class_sum_to_one_and_name_the_latent_that_carries_it():
    labels = np.arange(300) % 3
    mu = numbers(300, 5)
    mu[labels == 1, 2] += 6.0
    table = class_table(mu, labels, ["a", "b", "c"])
    assert len(table) == 15 and list(table) == ["class", "latent", "mean", "std", "share"]
    assert table.groupby("class")["share"].sum().to_numpy() == pytest.approx([1, 1, 1])
    of_b = table[table["class"] == "b"].set_index("latent")
    assert of_b["share"].idxmax() == 2 and of_b["share"].max() > 0.95
    assert of_b["mean"].to_numpy() == pytest.approx(mu[labels == 1].mean(axis=0))
    assert of_b["std"].to_numpy() == pytest.approx(mu[labels == 1].std(axis=0))

    strongest = top_share(mu, labels, 3, top=2)
    expected = table.groupby("class")["share"].apply(lambda share: share.nlargest(2).sum()).to_numpy()
    assert strongest == pytest.approx(expected)
    assert top_share(mu, labels, 3, top=5) == pytest.approx([1, 1, 1])


def test_units_are_active_when_their_mean_moves():
    mu = numbers(1000, 6) * np.array([1.0, 0.5, 0.2, 0.05, 0.01, 0.0])
    assert active_units(mu) == 3


def test_a_straight_line_is_walked_evenly_and_a_jump_is_not():
    line = np.linspace(0, 1, 9)[None, :, None] * numbers(4, 1, 7)
    assert step_evenness(line) == pytest.approx([1] * 4)
    jump = np.concatenate([np.zeros((1, 5, 2)), np.ones((1, 5, 2))], axis=1)
    assert step_evenness(jump) == pytest.approx([9])  # one of nine steps goes all the way
