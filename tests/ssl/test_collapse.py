"""Spread, rank, alignment and uniformity equal closed forms, and name a collapse for what it is."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from triptych.measures.params import CollapseThresholds
from triptych.ssl.measure import alignment, collapse_of, collapsed_since, effective_rank, embedding_std, uniformity

LIMITS = CollapseThresholds(embedding_std=0.5, effective_rank=10.0)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


@pytest.mark.parametrize("channels", [2, 16, 256])
def test_the_std_of_an_even_spread_is_one_at_any_width_and_length(channels):
    z = numbers(4000, channels)
    assert embedding_std(z) == pytest.approx(1, abs=0.02)
    assert embedding_std(1e-6 * z) == pytest.approx(embedding_std(z), rel=1e-5)


def test_the_std_of_one_point_is_zero_and_between_it_is_that_of_numpy():
    point = numbers(1, 32)
    assert embedding_std(point.expand(100, 32)) == pytest.approx(0, abs=1e-6)
    assert embedding_std(point * torch.logspace(-3, 3, 100)[:, None]) == pytest.approx(0, abs=1e-5)
    z = (point + 0.3 * numbers(100, 32, seed=1)).double().numpy()
    expected = (z / np.linalg.norm(z, axis=1, keepdims=True)).std(axis=0).mean() * np.sqrt(32)
    assert 0.1 < expected < 0.9
    assert embedding_std(torch.from_numpy(z)) == pytest.approx(expected)


def orthonormal(rows: int, columns: int, seed: int = 0) -> Tensor:
    return torch.linalg.qr(numbers(rows, columns, seed=seed).double())[0]


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_the_effective_rank_counts_equal_singular_values(scale):
    assert effective_rank(scale * orthonormal(100, 24)) == pytest.approx(24, rel=1e-3)
    assert effective_rank(scale * orthonormal(100, 24).T) == pytest.approx(24, rel=1e-3)
    assert effective_rank(scale * torch.ones(100, 24)) == pytest.approx(1, abs=1e-3)
    for rank in (2, 5, 17):
        z = orthonormal(100, rank) @ orthonormal(24, rank, seed=1).T
        assert effective_rank(scale * z) == pytest.approx(rank, rel=1e-3)


def test_the_effective_rank_is_that_of_the_singular_values():
    z = numbers(80, 20) @ torch.diag(torch.logspace(0, -3, 20))
    sigma = np.linalg.svd(z.double().numpy(), compute_uv=False)
    p = sigma / sigma.sum() + 1e-7
    expected = np.exp(-(p * np.log(p)).sum())
    assert 2 < expected < 15
    assert effective_rank(z) == pytest.approx(expected, rel=1e-6)


def test_alignment_is_the_squared_distance_of_directions():
    z = numbers(50, 8)
    assert alignment(z, 3 * z) == pytest.approx(0, abs=1e-6)
    assert alignment(z, -0.1 * z) == pytest.approx(4)
    assert alignment(torch.eye(4), torch.eye(4).roll(1, dims=0)) == pytest.approx(2)
    half = torch.cat([z[:25], -z[25:]])
    assert alignment(z, half) == pytest.approx(2)


def test_uniformity_of_few_points_has_closed_forms():
    north = torch.tensor([0.0, 0.0, 5.0])
    assert uniformity(torch.stack([north, -north])) == pytest.approx(-8)
    assert uniformity(north.expand(6, 3)) == pytest.approx(0, abs=1e-6)
    assert uniformity(torch.eye(5)) == pytest.approx(-4)
    assert math.isnan(uniformity(north[None]))


@pytest.mark.parametrize("block", [1, 7, 60, 1000])
def test_uniformity_is_that_of_all_pairs_in_blocks_of_any_size(block):
    z = numbers(60, 5).double()
    distances = torch.pdist(torch.nn.functional.normalize(z, dim=1))
    assert uniformity(z, block) == pytest.approx(float((-2 * distances.square()).exp().mean().log()))


def diagnosis_of(z: Tensor) -> tuple[str, str]:
    limits = CollapseThresholds(embedding_std=0.2, effective_rank=4.0)
    return collapse_of(embedding_std(z), effective_rank(z), limits)


def test_a_healthy_representation_has_not_collapsed():
    kind, _ = diagnosis_of(numbers(500, 64))
    assert kind == "none"


def test_one_point_is_a_complete_collapse():
    kind, reason = diagnosis_of(numbers(1, 64) + 0.01 * numbers(500, 64, seed=1))
    assert kind == "complete" and "almost equal" in reason and "0.2" in reason


def test_a_line_through_the_origin_is_a_dimensional_collapse():
    """Half of the images at one end and half at the other: spread, but in one direction."""
    kind, reason = diagnosis_of(numbers(500, 1) * numbers(1, 64, seed=1))
    assert kind == "dimensional" and "rank is 1.0, below 4" in reason


def test_the_thresholds_decide():
    cases = {(0.5, 10.0): "none", (0.49, 10.0): "complete", (0.5, 9.9): "dimensional"}
    assert {numbers: collapse_of(*numbers, LIMITS)[0] for numbers in cases} == cases


def since(*seeds: list[float], rank: float = 100.0) -> int | None:
    """First epoch of a collapse of seeds with these stds at epochs 5, 10, …"""
    return collapsed_since(
        [
            [{"epoch": 5 * n, "test_embedding_std": std, "effective_rank": rank} for n, std in enumerate(stds, 1)]
            for stds in seeds
        ],
        LIMITS,
    )


def test_a_collapse_begins_at_the_epoch_from_which_the_std_stays_low():
    for stds, epoch in [
        ([0.9, 0.8, 0.1, 0.1], 15),
        ([0.1, 0.1, 0.1, 0.1], 5),
        ([0.9, 0.9, 0.9, 0.1], 20),
        ([0.1, 0.9, 0.1, 0.1], 15),  # recovered, then collapsed for good
        ([0.1, 0.1, 0.1, 0.9], None),  # recovered
        ([0.9, 0.9, 0.9, 0.5], None),  # at the threshold is not below it
        ([0.1, 0.1, 0.1, math.nan], None),  # diverged
    ]:
        assert since(stds) == epoch, stds


def test_a_variant_collapses_when_the_last_of_its_seeds_does():
    assert since([0.9, 0.1, 0.1], [0.1, 0.1, 0.1]) == 10
    assert since([0.9, 0.1, 0.1], [0.1, 0.9, 0.1]) == 15
    assert since([0.9, 0.1, 0.1], [0.1, 0.1, 0.9]) is None
    assert since([0.9, 0.9, 0.9], [0.9, 0.9, 0.9], rank=2.0) == 5
