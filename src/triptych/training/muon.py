"""Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/): momentum whose steps are orthogonal matrices.

torch.optim.Muon takes matrices alone, and computes in bfloat16, which many CPUs emulate at a fraction of their speed.
This one takes kernels of convolutions too and iterates in float32 on the small Gram matrix, at a third of the products.
"""

import math
from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

# Coefficients and number of Jordan's iterations. They pull singular values into about [0.7, 1.2] instead of all to 1,
# which is as good for training, and takes few iterations also for small ones.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
EPSILON = 1e-7
# The root mean square of a step at learning rate 1, which AdamW's have by experience: the same learning rate then suits
# both (Liu et al. 2025, arXiv:2502.16982, section 2.2).
STEP_SIZE = 0.2


@torch.no_grad()
def orthogonalised(matrices: Tensor) -> Tensor:
    """Nearly U V' of X = U S V' for each of (N, rows, columns), float32.

    Newton and Schulz's iteration X <- (a + b XX' + c (XX')²) X. A polynomial in XX' commutes with it, so that its
    factors can be gathered on the Gram matrix, and X is multiplied once.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    X = (matrices.mT if tall else matrices).float()
    X = X / X.flatten(1).norm(dim=1).clamp(min=EPSILON)[:, None, None]
    gram = X @ X.mT
    identity = torch.eye(gram.shape[1], device=gram.device)
    factor: Tensor | None = None
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        polynomial = a * identity + torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        factor = polynomial if factor is None else polynomial @ factor
        gram = polynomial @ gram @ polynomial
    X = factor @ X
    return X.mT if tall else X


class Muon(torch.optim.Optimizer):
    """Nesterov's momentum, orthogonalised; a kernel (out, in, height, width) is a matrix (out, in * height * width).

    Args:
        params: of two dimensions or more, or groups of such.
        lr: learning rate; a step's root mean square is STEP_SIZE times it, as AdamW's.
        momentum: decay of the running mean of gradients.
        weight_decay: decoupled from the gradient, as AdamW's.
    """

    def __init__(
        self, params: Iterable[nn.Parameter] | Iterable[dict], lr: float, momentum: float, weight_decay: float
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One step for every parameter that has a gradient."""
        for group in self.param_groups:
            same_shape = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    same_shape[p.flatten(1).shape].append(p)
            for (rows, columns), parameters in same_shape.items():
                directions = orthogonalised(torch.stack([self._direction(p, group["momentum"]) for p in parameters]))
                size = group["lr"] * STEP_SIZE * math.sqrt(max(rows, columns))
                for p, direction in zip(parameters, directions, strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(direction.view(p.shape), alpha=-size)

    def _direction(self, p: nn.Parameter, momentum: float) -> Tensor:
        """Moves the running mean by the gradient, and looks one step ahead: a matrix (rows, columns)."""
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        state["momentum"].lerp_(p.grad, 1 - momentum)
        return p.grad.lerp(state["momentum"], momentum).flatten(1)
