"""Optimisers, learning rates and averages of weights."""

import copy
import math

import torch
from torch import nn

from triptych.core.objective import Objective
from triptych.training.params import SGD, Adam, Schedule


def build_optimiser(objective: Objective, params: Adam | SGD) -> torch.optim.Optimizer:
    """The optimiser with fused kernels; each group carries its base rate as `base_lr`."""
    groups = objective.parameter_groups()
    if isinstance(params, SGD):
        optimiser = torch.optim.SGD(
            groups, lr=params.learning_rate, momentum=params.momentum, weight_decay=params.weight_decay, fused=True
        )
    else:
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[params.name]
        optimiser = kind(
            groups, lr=params.learning_rate, betas=params.betas, weight_decay=params.weight_decay, fused=True
        )
    for group in optimiser.param_groups:
        group["base_lr"] = group["lr"]
    return optimiser


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
