"""Each measure of a representation equals an independent reference or a closed form."""

import numpy as np
import pytest
import torch
from scipy import optimize
from torch import Tensor

from triptych.measures.collapse import (
    alignment,
    diagnose,
    effective_rank,
    embedding_std,
    first_collapse,
    uniformity,
)
from triptych.measures.neighbours import knn_classes
from triptych.measures.probe import fit_probe, linear_classes


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def clusters(count: int, classes: int, seed: int, distance: float = 1.0, channels: int = 6) -> tuple[Tensor, Tensor]:
    """Features around one centre a class, in any order, and their classes."""
    labels = torch.from_numpy(np.random.default_rng(seed).permutation(count) % classes)
    return distance * numbers(classes, channels, seed=99)[labels] + numbers(count, channels, seed=seed), labels


# --- k nearest neighbours ---


def votes_one_by_one(queries: Tensor, bank: Tensor, labels: Tensor, k: int, temperature: float) -> list[int]:
    """The definition, query by query, over the labelled images of the bank."""
    rows = [(np.asarray(x, dtype=np.float64), int(c)) for x, c in zip(bank, labels, strict=True) if c >= 0]
    found = []
    for query in np.asarray(queries, dtype=np.float64):
        cosine = [(x @ query / np.linalg.norm(x) / np.linalg.norm(query), c) for x, c in rows]
        votes = np.zeros(max(c for _, c in rows) + 1)
        for similarity, c in sorted(cosine, reverse=True)[:k]:
            votes[c] += np.exp(similarity / temperature)
        found.append(int(votes.argmax()))
    return found


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.1), (7, 0.1), (20, 0.05), (20, 10.0), (60, 0.5)])
def test_knn_is_the_weighted_vote(k, temperature):
    (bank, labels), (queries, _) = clusters(90, 4, seed=1), clusters(50, 4, seed=2)
    found = knn_classes(queries, bank, labels, k, temperature)
    assert found.dtype == torch.int64 and found.shape == (50,)
    assert found.tolist() == votes_one_by_one(queries, bank, labels, k, temperature)


def test_the_temperature_decides_between_one_near_and_many_far_votes():
    bank = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.8, 0.6]])
    labels, query = torch.tensor([0, 1, 1]), torch.tensor([[2.0, 0.0]])
    assert knn_classes(query, bank, labels, temperature=0.1).tolist() == [0]  # 1 against 2 exp(-2)
    assert knn_classes(query, bank, labels, temperature=1.0).tolist() == [1]  # 1 against 2 exp(-0.2)
    # exp(1000) and exp(800) are no floats, and are not equal.
    assert knn_classes(query, bank, 1 - labels, temperature=1e-3).tolist() == [1]


@pytest.mark.parametrize("block", [1, 3, 50, 1000])
def test_knn_answers_every_query_in_blocks_of_any_size(block):
    (bank, labels), (queries, _) = clusters(90, 4, seed=1), clusters(50, 4, seed=2)
    whole = votes_one_by_one(queries, bank, labels, 10, 0.1)
    assert knn_classes(queries, bank, labels, k=10, block=block).tolist() == whole


def test_knn_takes_the_whole_bank_where_k_is_larger():
    (bank, labels), (queries, _) = clusters(30, 3, seed=1), clusters(20, 3, seed=2)
    assert knn_classes(queries, bank, labels, k=200, temperature=0.3).tolist() == votes_one_by_one(
        queries, bank, labels, 30, 0.3
    )


def test_unlabelled_images_neither_vote_nor_take_a_place():
    (bank, labels), (queries, classes) = clusters(60, 3, seed=1, distance=4), clusters(20, 3, seed=2, distance=4)
    # A copy of every query, the nearest image there is, but of no class.
    with_copies, with_unknown = torch.cat([queries, bank]), torch.cat([torch.full_like(classes, -1), labels])
    found = knn_classes(queries, with_copies, with_unknown, k=5)
    assert found.tolist() == knn_classes(queries, bank, labels, k=5).tolist()
    assert (found == classes).float().mean() > 0.9
    with pytest.raises(ValueError, match="labelled"):
        knn_classes(queries, bank, torch.full_like(labels, -1))


@pytest.mark.parametrize("labels", [[2, 1, 1, 2], [1, 2, 2, 1]])
def test_the_lowest_class_wins_a_tie(labels):
    bank = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    queries = torch.tensor([[3.0, 0.0], [0.0, 0.5], [1.0, 1.0]])
    for block in (1, 2, 3):
        assert knn_classes(queries, bank, torch.tensor(labels), k=4, block=block).tolist() == [1, 1, 1]


def test_knn_sees_directions_only():
    (bank, labels), (queries, _) = clusters(90, 4, seed=1), clusters(50, 4, seed=2)
    lengths = torch.logspace(-3, 3, 90)[torch.randperm(90, generator=torch.Generator().manual_seed(0))]
    scaled = knn_classes(1e3 * queries, bank * lengths[:, None], labels, k=10)
    assert scaled.tolist() == knn_classes(queries, bank, labels, k=10).tolist()


def test_knn_refuses_what_it_cannot_answer():
    bank, labels = clusters(10, 2, seed=1)
    with pytest.raises(ValueError, match="finite"):
        knn_classes(bank * torch.nan, bank, labels)
    for setting in ({"k": 0}, {"temperature": 0.0}, {"block": 0}):
        with pytest.raises(ValueError, match="positive"):
            knn_classes(bank, bank, labels, **setting)


# --- The linear probe ---


def reference_probe(features: Tensor, labels: Tensor, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights and bias by scipy on numerical arithmetic of its own, for standardised features."""
    x, one_hot = features.double().numpy(), np.eye(int(labels.max()) + 1)[labels]
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    shape = (x.shape[1], one_hot.shape[1])

    def objective(flat: np.ndarray) -> float:
        weight, bias = flat[: -shape[1]].reshape(shape), flat[-shape[1] :]
        logits = x @ weight + bias
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return -(one_hot * log_p).sum(axis=1).mean() + penalty / 2 * np.square(weight).sum()

    found = optimize.minimize(objective, np.zeros((shape[0] + 1) * shape[1]), method="BFGS", options={"gtol": 1e-7})
    return found.x[: -shape[1]].reshape(shape), found.x[-shape[1] :]


@pytest.mark.parametrize("penalty", [1e-2, 1.0])
def test_the_probe_is_logistic_regression_at_its_optimum(penalty):
    features, labels = clusters(120, 3, seed=3, channels=4)
    features = features * torch.tensor([1.0, 30.0, 0.02, 1.0]) + torch.tensor([0.0, 100.0, 0.0, -3.0])
    probe = fit_probe(features, labels, penalty, tolerance=1e-9)
    weight, bias = reference_probe(features, labels, penalty)
    np.testing.assert_allclose(probe.theta[:-1], weight, atol=1e-4)
    # A constant added to all biases changes no probability.
    np.testing.assert_allclose(probe.theta[-1] - probe.theta[-1].mean(), bias - bias.mean(), atol=1e-4)


def test_the_probe_stops_where_the_gradient_of_its_objective_is_zero():
    features, labels = clusters(400, 5, seed=3, channels=16)
    penalty = 1e-3
    probe = fit_probe(features, labels, penalty)
    x = (features.double() - features.double().mean(dim=0)) / features.double().std(dim=0, correction=0)
    weight, bias = probe.theta[:-1].clone().requires_grad_(), probe.theta[-1].clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(x @ weight + bias, labels) + penalty / 2 * weight.square().sum()
    loss.backward()
    assert weight.grad.abs().max() < 2e-6 and bias.grad.abs().max() < 2e-6
    assert probe.gradient < 2e-6
    cut_short = fit_probe(features, labels, penalty, iterations=2)
    assert cut_short.iterations == 2 and cut_short.gradient > 1e-4  # and says so


def test_the_probe_separates_what_a_plane_separates_and_knows_new_images():
    (features, labels), (queries, classes) = clusters(300, 4, 1, distance=8), clusters(100, 4, 2, distance=8)
    assert linear_classes(features, labels, features, penalty=1e-4).tolist() == labels.tolist()
    assert (linear_classes(features, labels, queries, penalty=1e-4) == classes).float().mean() > 0.97


def test_a_heavy_penalty_leaves_the_commonest_class():
    features, _ = clusters(100, 2, seed=1)
    labels = (torch.arange(100) < 60).long()
    assert linear_classes(features, labels, features, penalty=1e6).tolist() == [1] * 100


def test_the_scale_and_place_of_features_do_not_matter_to_the_probe():
    features, labels = clusters(200, 3, seed=1)
    scale = torch.tensor([1e-3, 1.0, 1e3, 2.0, 0.5, 7.0])
    probe, moved = fit_probe(features, labels, 1e-3), fit_probe(features * scale + 3 * scale, labels, 1e-3)
    np.testing.assert_allclose(moved.theta, probe.theta, atol=1e-3)


def test_the_probe_leaves_out_unlabelled_images_and_dead_features():
    features, labels = clusters(200, 3, seed=1)
    unknown = torch.cat([features, 50 + 9 * numbers(40, 6, seed=7)])
    with_unknown = fit_probe(unknown, torch.cat([labels, torch.full((40,), -1)]), 1e-3)
    plain = fit_probe(features, labels, 1e-3)
    np.testing.assert_array_equal(with_unknown.theta, plain.theta)

    # A feature that is constant up to the last digit of float32 has nothing to tell, at any value.
    constant = 0.1 * (1 + 1e-8 * numbers(200, 1, seed=5).double())
    with_dead = fit_probe(torch.cat([features, constant], dim=1), labels, 1e-3)
    assert with_dead.theta[-2].abs().max() == 0
    shifted = torch.cat([features, constant + 1e6], dim=1)
    assert with_dead.classes(shifted).tolist() == plain.classes(features).tolist()


def test_the_probe_takes_features_made_in_inference_mode():
    features, labels = clusters(100, 3, seed=1)
    with torch.inference_mode():
        frozen = features.double() * 1
        inside = fit_probe(frozen, labels, 1e-2).theta.numpy()
    np.testing.assert_array_equal(fit_probe(frozen, labels, 1e-2).theta.numpy(), inside)


def test_the_probe_refuses_what_has_no_answer():
    features, labels = clusters(20, 2, seed=1)
    with pytest.raises(ValueError, match="penalty"):
        fit_probe(features, labels, 0.0)
    with pytest.raises(ValueError, match="labelled"):
        fit_probe(features, torch.full_like(labels, -1), 1e-3)
    with pytest.raises(ValueError, match="finite"):
        fit_probe(features * torch.inf, labels, 1e-3)


# --- Spread and rank ---


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


# --- Alignment and uniformity ---


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
    with pytest.raises(ValueError, match="pair"):
        uniformity(north[None])


@pytest.mark.parametrize("block", [1, 7, 60, 1000])
def test_uniformity_is_that_of_all_pairs_in_blocks_of_any_size(block):
    z = numbers(60, 5).double()
    distances = torch.pdist(torch.nn.functional.normalize(z, dim=1))
    assert uniformity(z, block) == pytest.approx(float((-2 * distances.square()).exp().mean().log()))


# --- Diagnosis ---


def diagnosis_of(z: Tensor):
    return diagnose(embedding_std(z), effective_rank(z), std_threshold=0.2, rank_threshold=4.0)


def test_a_healthy_representation_has_not_collapsed():
    found = diagnosis_of(numbers(500, 64))
    assert (found.collapsed, found.kind) == (False, "none")


def test_one_point_is_a_complete_collapse():
    found = diagnosis_of(numbers(1, 64) + 0.01 * numbers(500, 64, seed=1))
    assert (found.collapsed, found.kind) == (True, "complete")
    assert "one point" in found.reason and "0.2" in found.reason


def test_a_line_through_the_origin_is_a_dimensional_collapse():
    """Half of the images at one end and half at the other: spread, but in one direction."""
    found = diagnosis_of(numbers(500, 1) * numbers(1, 64, seed=1))
    assert (found.collapsed, found.kind) == (True, "dimensional")
    assert "rank is 1.0, below 4" in found.reason


def test_the_thresholds_decide_and_numbers_that_are_none_are_refused():
    assert not diagnose(0.5, 10.0, std_threshold=0.5, rank_threshold=10.0).collapsed
    assert diagnose(0.49, 10.0, std_threshold=0.5, rank_threshold=10.0).kind == "complete"
    assert diagnose(0.5, 9.9, std_threshold=0.5, rank_threshold=10.0).kind == "dimensional"
    for std, rank in [(float("nan"), 10.0), (0.5, float("nan")), (float("inf"), 10.0)]:
        with pytest.raises(ValueError, match="finite"):
            diagnose(std, rank, std_threshold=0.5, rank_threshold=10.0)


@pytest.mark.parametrize(
    ("stds", "epoch"),
    [
        ([0.9, 0.8, 0.1, 0.1], 15),
        ([0.1, 0.1, 0.1, 0.1], 5),
        ([0.9, 0.9, 0.9, 0.1], 20),
        ([0.1, 0.9, 0.1, 0.1], 15),  # recovered, then collapsed for good
        ([0.1, 0.1, 0.1, 0.9], None),  # recovered
        ([0.9, 0.9, 0.9, 0.5], None),  # at the threshold is not below it
        ([0.1, 0.1, 0.1, float("nan")], None),  # diverged
    ],
)
def test_a_collapse_begins_where_the_std_stays_low(stds, epoch):
    assert first_collapse([5, 10, 15, 20], stds, threshold=0.5) == epoch


def test_no_epochs_have_no_collapse_and_each_needs_its_std():
    assert first_collapse([], [], 0.5) is None
    with pytest.raises(ValueError):
        first_collapse([1, 2], [0.1], 0.5)
