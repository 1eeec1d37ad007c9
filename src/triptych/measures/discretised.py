"""Probabilities of 8-bit images, and their unit: bits per dimension."""

import math

import torch
from torch import Tensor

# Neighbouring grey levels of an 8-bit image scaled to [-1, 1] lie this far apart.
LEVEL_WIDTH = 2 / 255


def discretised_gaussian_log_mass(x: Tensor, mean: Tensor, sigma: float) -> Tensor:
    """Elementwise log-probability of the 8-bit level of x: the Gaussian's mass within half a level of it.

    The outermost levels take the tails, so that the 256 masses sum to 1 (Ho et al. 2020, equation 13).
    """
    # By symmetry the nearer tail is used: the difference of two masses near 1 would lose its digits.
    distance = (x - mean).abs()
    near = (distance - LEVEL_WIDTH / 2) / sigma
    far = (distance + LEVEL_WIDTH / 2) / sigma
    outermost = x.abs() > 1 - LEVEL_WIDTH / 4
    outward = torch.where(x > 0, x - mean, mean - x)  # positive when the pixel lies beyond the mean, towards its edge
    upper = torch.special.log_ndtr(-near)
    inner = upper + torch.log(-torch.expm1(torch.special.log_ndtr(-far) - upper))
    edge = torch.special.log_ndtr(-(outward - LEVEL_WIDTH / 2) / sigma)
    return torch.where(outermost, edge, inner)


def bits_per_dimension(log_probability: Tensor, dimensions: int, density: bool) -> Tensor:
    """Nats per image -> bits per dimension; a density on [-1, 1] is first turned into mass per 8-bit level."""
    nats = log_probability.double() / dimensions
    if density:
        nats = nats + math.log(LEVEL_WIDTH)
    return -nats / math.log(2)
