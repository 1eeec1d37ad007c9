"""Optimisers, learning rates and averages of weights."""

import copy
import math
from collections.abc import Callable

import torch
from torch import nn

from triptych.core.objective import Objective
from triptych.training.muon import Muon
from triptych.training.params import SGD, Adam, Schedule
from triptych.training.params import Muon as MuonParams


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
