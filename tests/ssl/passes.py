"""Record the views that pass a SiameseNetwork, and the cosine loss by loops, for the tests of methods."""

import math

from torch import Tensor, nn

from triptych.nn.fast import norm


def watched(network: nn.Module) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return a list that fills as views pass: view, projection and prediction of each."""
    seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def hook(module: nn.Module, inputs: tuple, outputs: tuple[Tensor, Tensor]) -> None:
        seen.extend(zip(*(tensor.chunk(norm._groups) for tensor in (inputs[0], *outputs)), strict=True))

    network.register_forward_hook(hook)
    return seen


def negative_cosine_by_loops(p: Tensor, z: Tensor) -> float:
    """Return the mean of -cos(p, z) over rows, one number at a time."""
    total = 0.0
    for row, other in zip(p.double().tolist(), z.double().tolist(), strict=True):
        norms = math.sqrt(sum(x * x for x in row)) * math.sqrt(sum(x * x for x in other))
        total -= sum(a * b for a, b in zip(row, other, strict=True)) / norms
    return total / len(p)
