"""Optimisers, learning rate schedules and weight averages.

Muon was introduced by Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/. Unlike torch.optim.Muon, this
implementation supports convolution kernels.
"""

import copy
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn

from triptych.training.objective import Objective
from triptych.training.params import SGD, Adam, Schedule
from triptych.training.params import Muon as MuonParams

# Jordan's coefficients: five iterations move singular values into about [0.7, 1.2].
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
EPSILON = 1e-7
# Root mean square of an update at learning rate 1, as with AdamW (Liu et al. 2025, arXiv:2502.16982, section 2.2).
STEP_SIZE = 0.2

ByShape = dict[torch.Size, list[nn.Parameter]]


@torch.no_grad()
def orthogonalised(matrices: Tensor) -> Tensor:
    """Approximate UV' for each matrix X = USV' (singular value decomposition). `matrices` has shape (N, rows, columns).

    The Newton-Schulz iteration is X <- (aI + bXX' + c(XX')²) X. The left factors of all iterations commute, so their
    product can be computed from the Gram matrix XX' alone, with fewer multiplications. It is then applied to X.
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
    """Muon optimiser: Nesterov momentum with orthogonalised updates.

    Convolution kernels of shape (out, in, height, width) are treated as matrices of shape (out, in * height * width).
    The root mean square of an update is STEP_SIZE times the learning rate. Weight decay is decoupled, as in AdamW.
    """

    def __init__(
        self, params: Iterable[nn.Parameter] | Iterable[dict], lr: float, momentum: float, weight_decay: float
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient. `closure` is ignored."""
        for group in self.param_groups:
            by_shape = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    by_shape[p.flatten(1).shape].append(p)
                    if not self.state[p]:
                        self.state[p]["momentum"] = torch.zeros_like(p)
                    self.state[p]["momentum"].lerp_(p.grad, 1 - group["momentum"])
            for parameters, directions in self._directions(by_shape, group["momentum"]):
                rows, columns = directions.shape[1:]
                size = group["lr"] * STEP_SIZE * math.sqrt(max(rows, columns))
                for p, direction in zip(parameters, directions, strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(direction.view(p.shape), alpha=-size)

    def _directions(self, by_shape: ByShape, momentum: float) -> Iterator[tuple[list[nn.Parameter], Tensor]]:
        if not dist.is_initialized() or dist.get_world_size() == 1:
            for parameters in by_shape.values():
                yield parameters, self._direction(parameters, momentum)
            return
        # Each process computes the updates for some shapes, and shares them with the others.
        sizes = [len(parameters) * shape.numel() for shape, parameters in by_shape.items()]
        flat = torch.zeros(sum(sizes), device=next(iter(by_shape.values()))[0].device)
        results = flat.split(sizes)
        for index in _share(by_shape, dist.get_rank(), dist.get_world_size()):
            results[index].copy_(self._direction(list(by_shape.values())[index], momentum).flatten())
        dist.all_reduce(flat)
        for (shape, parameters), directions in zip(by_shape.items(), results, strict=True):
            yield parameters, directions.view(len(parameters), *shape)

    def _direction(self, parameters: list[nn.Parameter], momentum: float) -> Tensor:
        ahead = [p.grad.lerp(self.state[p]["momentum"], momentum).flatten(1) for p in parameters if p.grad is not None]
        return orthogonalised(torch.stack(ahead))


def _share(by_shape: ByShape, rank: int, processes: int) -> list[int]:
    """Return the indices of the shapes whose updates process `rank` computes. `processes` processes share the work."""
    # About the number of multiplications; launching the kernels for a shape costs as much as ten million.
    costs = [10**7 + 4 * len(parameters) * shape.numel() * min(shape) for shape, parameters in by_shape.items()]
    loads, mine = [0] * processes, []
    for index in sorted(range(len(costs)), key=lambda index: -costs[index]):
        least = loads.index(min(loads))
        loads[least] += costs[index]
        if least == rank:
            mine.append(index)
    return mine


def build_optimisers(objective: Objective, params: Adam | MuonParams | SGD) -> list[torch.optim.Optimizer]:
    """Build the optimisers of an objective. Each parameter group stores its base learning rate as `base_lr`."""
    optimisers = _build(objective.parameter_groups(), params)
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["base_lr"] = group["lr"]
    return optimisers


def _build(groups: list[dict], params: Adam | MuonParams | SGD) -> list[torch.optim.Optimizer]:
    rate, decay = params.learning_rate, params.weight_decay
    if isinstance(params, MuonParams):
        muon = Muon(_select(groups, matrices=True), rate, params.momentum, decay)
        return [muon, *_build(_select(groups, matrices=False), params.others)]
    if isinstance(params, SGD):
        return [torch.optim.SGD(groups, lr=rate, momentum=params.momentum, weight_decay=decay, fused=True)]
    adam = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[params.name]
    return [adam(groups, lr=rate, betas=params.betas, weight_decay=decay, fused=True)]


def _select(groups: list[dict], matrices: bool) -> list[dict]:
    return [group | {"params": [p for p in group["params"] if (p.ndim >= 2) == matrices]} for group in groups]


def rate_factor(schedule: Schedule, step: int, steps: int) -> float:
    """Return the factor by which `schedule` multiplies the base learning rate at step `step`, in [0, steps)."""
    if step < schedule.warmup_steps:
        return (step + 1) / schedule.warmup_steps
    if schedule.name == "constant":
        return 1.0
    progress = (step - schedule.warmup_steps) / max(1, steps - schedule.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * progress))


def set_rates(optimisers: Iterable[torch.optim.Optimizer], factor: float) -> None:
    """Set learning rates to `factor` times the base rate, except in parameter groups whose `constant_rate` is True."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            if not group["constant_rate"]:
                group["lr"] = group["base_lr"] * factor


class WeightAverage:
    """Exponential moving average of a network's weights, with the half-life measured in training images.

    The half-life is limited to 5 % of the images seen so far, so that the average forgets the initial weights (Karras
    et al. 2024, arXiv:2312.02696, section 3).
    """

    RAMP = 0.05

    def __init__(self, network: nn.Module, halflife_images: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.halflife_images = halflife_images

    @torch.no_grad()
    def update(self, network: nn.Module, images_seen: int, batch_size: int) -> None:
        """Update the average after an optimiser step, and copy buffers. `images_seen` counts images up to this step."""
        halflife = min(self.halflife_images, self.RAMP * images_seen)
        share = 1 - 0.5 ** (batch_size / halflife)
        torch._foreach_lerp_(list(self.network.parameters()), list(network.parameters()), share)
        for average, buffer in zip(self.network.buffers(), network.buffers(), strict=True):
            average.copy_(buffer)
