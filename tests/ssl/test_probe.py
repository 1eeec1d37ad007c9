"""The linear probe is logistic regression at its optimum."""

import numpy as np
import pytest
import torch
from scipy import optimize
from torch import Tensor

from triptych.ssl.probe import fit_probe


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def clusters(count: int, classes: int, seed: int, distance: float = 1.0, channels: int = 6) -> tuple[Tensor, Tensor]:
    """Features around one centre a class, in any order, and their classes."""
    labels = torch.from_numpy(np.random.default_rng(seed).permutation(count) % classes)
    return distance * numbers(classes, channels, seed=99)[labels] + numbers(count, channels, seed=seed), labels


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
    cut_short = fit_probe(features, labels, penalty, iterations=2)
    assert (cut_short.theta - probe.theta).abs().max() > 1e-2


def test_the_probe_separates_what_a_plane_separates_and_knows_new_images():
    (features, labels), (queries, classes) = clusters(300, 4, 1, distance=8), clusters(100, 4, 2, distance=8)
    assert fit_probe(features, labels, 1e-4).classes(features).tolist() == labels.tolist()
    assert (fit_probe(features, labels, 1e-4).classes(queries) == classes).float().mean() > 0.97


def test_a_heavy_penalty_leaves_the_commonest_class():
    features, _ = clusters(100, 2, seed=1)
    labels = (torch.arange(100) < 60).long()
    assert fit_probe(features, labels, 1e6).classes(features).tolist() == [1] * 100


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


def test_the_probe_leaves_its_features_as_they_are():
    """Also float64 ones on the CPU, of which none is left out: those that it computes with."""
    x, labels = clusters(60, 3, seed=1)
    x = x.double()
    before = x.clone()
    fit_probe(x, labels, 0.01)
    assert torch.equal(x, before)


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
