"""Muon: nearly orthogonal steps, equal to those of torch.optim.Muon."""

import pytest
import torch
from torch import Tensor, nn

from triptych.training.optimisers import Muon, orthogonalised


def matrices(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(3, 8, 20), (3, 20, 8), (2, 12, 12)])
def test_singular_vectors_stay_and_singular_values_come_close_to_one(shape):
    X = matrices(*shape) + 2 * torch.eye(*shape[1:])
    U, _, Vh = torch.linalg.svd(X.double(), full_matrices=False)
    inner = U.mT @ orthogonalised(X).double() @ Vh.mT
    values = inner.diagonal(dim1=1, dim2=2)
    assert values.min() > 0.6 and values.max() < 1.25
    assert (inner - torch.diag_embed(values)).abs().max() < 1e-3


def test_orthogonalisation_ignores_scale_and_other_matrices():
    X = matrices(4, 6, 10)
    torch.testing.assert_close(orthogonalised(1000 * X), orthogonalised(X), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(orthogonalised(X[2:3])[0], orthogonalised(X)[2], rtol=1e-4, atol=1e-5)
    assert orthogonalised(torch.zeros(1, 3, 5)).abs().max() == 0


def trained(optimiser: type, weights: list[Tensor], **options: float) -> list[Tensor]:
    """Return the weights after six steps with fixed random gradients."""
    parameters = [nn.Parameter(weight.clone(memory_format=torch.preserve_format)) for weight in weights]
    stepped = optimiser(parameters, **options)
    for step in range(6):
        for place, p in enumerate(parameters):
            p.grad = torch.empty_like(p).copy_(matrices(*p.flatten(1).shape, seed=10 * step + place).view(p.shape))
        stepped.step()
    return [p.detach() for p in parameters]


OPTIONS = {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.1}


def test_steps_equal_those_of_torch_within_bfloat16():
    weights = [matrices(24, 40), matrices(40, 24), matrices(16, 16)]
    expected = trained(torch.optim.Muon, weights, adjust_lr_fn="match_rms_adamw", **OPTIONS)
    for mine, torchs, start in zip(trained(Muon, weights, **OPTIONS), expected, weights, strict=True):
        assert (mine - torchs).norm() < 0.03 * (torchs - start).norm()


def test_a_kernel_is_a_matrix_of_its_output_channels_in_any_layout():
    kernel = matrices(8, 4, 3, 3)
    (flat,) = trained(Muon, [kernel.flatten(1)], **OPTIONS)
    for layout in (torch.contiguous_format, torch.channels_last):
        (found,) = trained(Muon, [kernel.contiguous(memory_format=layout)], **OPTIONS)
        torch.testing.assert_close(found.flatten(1), flat, rtol=1e-5, atol=1e-6)


def test_weight_decay_shrinks_weights_apart_from_the_gradient():
    p = nn.Parameter(matrices(4, 4))
    before = p.detach().clone()
    p.grad = torch.zeros_like(p)
    Muon([p], **OPTIONS).step()
    torch.testing.assert_close(p.detach(), before * (1 - 0.02 * 0.1))


def test_a_parameter_without_a_gradient_stays():
    p = nn.Parameter(matrices(4, 4))
    before = p.detach().clone()
    Muon([p], **OPTIONS).step()
    assert torch.equal(p.detach(), before)
