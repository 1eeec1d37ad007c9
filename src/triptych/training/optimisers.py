"""Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/): momentum whose steps are orthogonal matrices.

torch.optim.Muon takes matrices alone, and computes in bfloat16, which many CPUs emulate at a fraction of their speed.
This one takes kernels of convolutions too and iterates in float32 on the small Gram matrix, at a third of the products.
"""

import copy
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn

from triptych.training.objective import Objective
from triptych.training.params import SGD, Adam, Schedule
from triptych.training.params import Muon as MuonParams

# Coefficients and number of Jordan's iterations. They pull singular values into about [0.7, 1.2] instead of all to 1,
# which is as good for training, and takes few iterations also for small ones.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
EPSILON = 1e-7
# The root mean square of a step at learning rate 1, which AdamW's have by experience: the same learning rate then suits
# both (Liu et al. 2025, arXiv:2502.16982, section 2.2).
STEP_SIZE = 0.2

# Multiplications in whose time a CPU starts the operations on matrices of one shape.
START = 10**7

# Parameters by the shape of their matrices.
Stacks = dict[torch.Size, list[nn.Parameter]]


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
                    self._move(p, group["momentum"])
            for parameters, directions in self._directions(same_shape, group["momentum"]):
                rows, columns = directions.shape[1:]
                size = group["lr"] * STEP_SIZE * math.sqrt(max(rows, columns))
                for p, direction in zip(parameters, directions, strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(direction.view(p.shape), alpha=-size)

    def _move(self, p: nn.Parameter, momentum: float) -> None:
        """Moves the running mean by the gradient."""
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        state["momentum"].lerp_(p.grad, 1 - momentum)

    def _directions(self, same_shape: Stacks, momentum: float) -> Iterator[tuple[list[nn.Parameter], Tensor]]:
        """Parameters of one shape and their orthogonal steps, (N, rows, columns).

        Of several processes each iterates on a share of the shapes, and they exchange what they found.
        """
        if not dist.is_initialized() or dist.get_world_size() == 1:
            for parameters in same_shape.values():
                yield parameters, self._direction(parameters, momentum)
            return
        sizes = [len(parameters) * shape.numel() for shape, parameters in same_shape.items()]
        some = next(iter(same_shape.values()))[0]
        flat = torch.zeros(sum(sizes), device=some.device)
        found = flat.split(sizes)
        for index in _share(same_shape, dist.get_rank(), dist.get_world_size()):
            parameters = list(same_shape.values())[index]
            found[index].copy_(self._direction(parameters, momentum).flatten())
        dist.all_reduce(flat)
        for (shape, parameters), directions in zip(same_shape.items(), found, strict=True):
            yield parameters, directions.view(len(parameters), *shape)

    def _direction(self, parameters: list[nn.Parameter], momentum: float) -> Tensor:
        """The running means, looked at one step ahead and orthogonalised: (N, rows, columns)."""
        ahead = [p.grad.lerp(self.state[p]["momentum"], momentum).flatten(1) for p in parameters]
        return orthogonalised(torch.stack(ahead))


def _products(short: int, long: int) -> int:
    """Multiplications to make a matrix of these sides orthogonal: with its Gram matrix, and of Gram matrices."""
    return 2 * short**2 * long + 4 * ITERATIONS * short**3


def _share(same_shape: Stacks, rank: int, processes: int) -> list[int]:
    """The places of the shapes that are this process's: the dearest one left goes to whom has least to do."""
    costs = [START + len(parameters) * _products(*sorted(shape)) for shape, parameters in same_shape.items()]
    loads, mine = [0] * processes, []
    for index in sorted(range(len(costs)), key=lambda index: -costs[index]):
        least = loads.index(min(loads))
        loads[least] += costs[index]
        if least == rank:
            mine.append(index)
    return mine


class Joint:
    """Optimisers of different parameters that the training loop takes for one."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self.parts = parts

    @property
    def param_groups(self) -> list[dict]:
        """Those of all."""
        return [group for part in self.parts for group in part.param_groups]

    @property
    def state(self) -> dict[nn.Parameter, dict]:
        """Of each parameter."""
        return {p: state for part in self.parts for p, state in part.state.items()}

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As torch's."""
        for part in self.parts:
            part.zero_grad(set_to_none)

    def step(self) -> None:
        """A step of each."""
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict:
        """To be saved."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state: dict) -> None:
        """What `state_dict` gave."""
        for part, saved in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(saved)


def build_optimiser(objective: Objective, how: Adam | MuonParams | SGD) -> torch.optim.Optimizer | Joint:
    """The optimiser with fused kernels; each group carries its base rate as `base_lr`."""
    optimiser = _build(objective.parameter_groups(), how)
    for group in optimiser.param_groups:
        group["base_lr"] = group["lr"]
    return optimiser


def _build(groups: list[dict], how: Adam | MuonParams | SGD) -> torch.optim.Optimizer | Joint:
    if isinstance(how, MuonParams):
        muon = Muon(_those(groups, _is_matrix), how.learning_rate, how.momentum, how.weight_decay)
        return Joint(muon, _build(_those(groups, lambda p: not _is_matrix(p)), how.others))
    if isinstance(how, SGD):
        return torch.optim.SGD(
            groups, lr=how.learning_rate, momentum=how.momentum, weight_decay=how.weight_decay, fused=True
        )
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[how.name]
    return kind(groups, lr=how.learning_rate, betas=how.betas, weight_decay=how.weight_decay, fused=True)


def _those(groups: list[dict], wanted: Callable[[nn.Parameter], bool]) -> list[dict]:
    """The groups with those of their parameters alone."""
    return [group | {"params": [p for p in group["params"] if wanted(p)]} for group in groups]


def _is_matrix(p: nn.Parameter) -> bool:
    return p.ndim >= 2


def rate_factor(schedule: Schedule, step: int, steps: int) -> float:
    """The learning rate's factor at a step in [0, steps): linear warm-up, then constant or half a cosine to zero."""
    if step < schedule.warmup_steps:
        return (step + 1) / schedule.warmup_steps
    if schedule.name == "constant":
        return 1.0
    progress = (step - schedule.warmup_steps) / max(1, steps - schedule.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * progress))


def set_rates(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Sets each scheduled group's rate to `factor` times its base."""
    for group in optimiser.param_groups:
        if not group["constant_rate"]:
            group["lr"] = group["base_lr"] * factor


class WeightAverage:
    """Exponential moving average of a network's weights, its half-life counted in images.

    Early in a run the half-life is capped at 5 % of the images seen, so that the average forgets the random
    start (Karras et al. 2024, arXiv:2312.02696, section 3).
    """

    RAMP = 0.05

    def __init__(self, network: nn.Module, halflife_images: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.halflife_images = halflife_images

    @torch.no_grad()
    def update(self, network: nn.Module, images_seen: int, batch_size: int) -> None:
        """Moves the average towards `network` by one step's share; buffers are copied."""
        halflife = min(self.halflife_images, self.RAMP * images_seen)
        share = 1 - 0.5 ** (batch_size / halflife)
        torch._foreach_lerp_(list(self.network.parameters()), list(network.parameters()), share)
        for mine, theirs in zip(self.network.buffers(), network.buffers(), strict=True):
            mine.copy_(theirs)
