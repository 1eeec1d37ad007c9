"""Measures of latents, on synthetic latents with known answers."""

import numpy as np
import pytest

from triptych.vae.measure import active_units, class_table, cross_fades, step_evenness, top_share


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def test_shares_of_a_class_sum_to_one_and_identify_the_shifted_latent():
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

    expected = table.groupby("class")["share"].apply(lambda share: share.nlargest(2).sum())
    assert top_share(mu, labels, 3, top=2) == pytest.approx(expected.mean())
    assert top_share(mu, labels, 4, top=2) == pytest.approx(expected.mean()), "a class without images is left out"
    assert top_share(mu, labels, 3, top=5) == pytest.approx(1)
    assert np.isnan(top_share(np.ones((4, 5)), labels[:4], 3, top=2))


def test_units_are_active_when_their_mean_varies():
    mu = numbers(1000, 6) * np.array([1.0, 0.5, 0.2, 0.05, 0.01, 0.0])
    assert active_units(mu) == 3


def test_step_evenness_is_one_on_a_line_and_large_for_a_jump():
    line = np.linspace(0, 1, 9)[None, :, None] * numbers(4, 1, 7)
    assert step_evenness(line) == pytest.approx([1] * 4)
    jump = np.concatenate([np.zeros((1, 5, 2)), np.ones((1, 5, 2))], axis=1)
    assert step_evenness(jump) == pytest.approx([9])  # one of nine steps covers the whole distance
    assert np.isnan(step_evenness(np.zeros((1, 5, 2)))).all()


def test_cross_fades_blend_the_pixels_of_two_images():
    pairs = np.array([[[[[0]]], [[[90]]]], [[[[200]]], [[[100]]]]], np.uint8)
    assert cross_fades(pairs, 3).reshape(2, 3).tolist() == [[0, 45, 90], [200, 150, 100]]
