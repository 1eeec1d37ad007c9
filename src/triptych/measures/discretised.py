"""Log-probabilities of 8-bit images, and their conversion to bits per dimension."""

import math

import torch
from torch import Tensor

from triptych.measures.images import in_float64

# Distance between neighbouring levels of an 8-bit image that is scaled to [-1, 1].
LEVEL_WIDTH = 2 / 255


def discretised_gaussian_log_mass(x: Tensor, mean: Tensor, sigma: float) -> Tensor:
    """Return the log-probability of each 8-bit value in x under N(mean, sigma²), in nats.

    The 8-bit values are scaled to [-1, 1]. The probability of a value is the mass of the interval of width 2/255 around
    it. The intervals of the lowest and the highest value include the tails (Ho et al. 2020, equation 13).
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
    """Return bits per dimension for log-probabilities in nats, or for log-densities on [-1, 1] if `density` is True."""
    nats = in_float64(log_probability) / dimensions
    if density:
        nats = nats + math.log(LEVEL_WIDTH)
    return -nats / math.log(2)
