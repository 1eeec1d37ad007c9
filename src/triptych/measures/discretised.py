"""Probabilities of 8-bit images, and bits per dimension."""

import math

import torch
from torch import Tensor

from triptych.measures.images import in_float64

# Distance between neighbouring levels of an 8-bit image that is scaled to [-1, 1].
LEVEL_WIDTH = 2 / 255


def discretised_gaussian_log_mass(x: Tensor, mean: Tensor, sigma: float) -> Tensor:
    """Return the log-probability that N(mean, sigma²) assigns to the 8-bit level of each value in x.

    The lowest and the highest level include the tails, so that the probabilities of the 256 levels sum to 1 (Ho et al.
    2020, equation 13). The values in x are in [-1, 1].
    """
    # By symmetry the nearer tail is used, because the difference of two masses near 1 would lose precision.
    distance = (x - mean).abs()
    near = (distance - LEVEL_WIDTH / 2) / sigma
    far = (distance + LEVEL_WIDTH / 2) / sigma
    outermost = x.abs() > 1 - LEVEL_WIDTH / 4
    outward = torch.where(x > 0, x - mean, mean - x)  # positive if the pixel is farther from 0 than the mean
    upper = torch.special.log_ndtr(-near)
    inner = upper + torch.log(-torch.expm1(torch.special.log_ndtr(-far) - upper))
    edge = torch.special.log_ndtr(-(outward - LEVEL_WIDTH / 2) / sigma)
    return torch.where(outermost, edge, inner)


def bits_per_dimension(log_probability: Tensor, dimensions: int, density: bool) -> Tensor:
    """Convert a log-probability in nats to bits per dimension. If `density` is True, it is a log-density on [-1, 1]."""
    nats = in_float64(log_probability) / dimensions
    if density:
        nats = nats + math.log(LEVEL_WIDTH)
    return -nats / math.log(2)
