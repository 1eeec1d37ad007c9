"""Whether embeddings have collapsed, by their spread and rank; accuracy at chance alone would be no proof.

Everything is computed in float64 on the device of the embeddings (on the CPU where the device has no float64).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from triptych.ssl.shared.network import spread

# RankMe's ε: keeps the logarithm of a vanishing singular value finite.
EPSILON = 1e-7
# Embeddings at a time against all others: with 10,000 of them a block takes 80 MB.
BLOCK = 1024


def in_float64(x: Tensor) -> Tensor:
    """The same numbers in float64, on the CPU where the device (Apple's) has none."""
    return x.detach().to("cpu" if x.device.type == "mps" else x.device, torch.float64)


def directions(z: Tensor) -> Tensor:
    """z/||z|| of embeddings (N, d), float64; an embedding of zeros stays zero."""
    return functional.normalize(in_float64(z), dim=1)


def embedding_std(z: Tensor) -> float:
    """Mean per-channel standard deviation of z/||z||, times √d (Chen & He 2021, arXiv:2011.10566, section 4.1).

    1 when directions are spread evenly over the sphere, 0 when all embeddings are one point.

    Args:
        z: embeddings (N, d) of N images.
    """
    return float(spread(in_float64(z)))


def effective_rank(z: Tensor) -> float:
    """RankMe: exp of the entropy of the singular values (Garrido et al. 2023, arXiv:2210.02885, equation 1).

    p = σ/||σ||₁ + ε; uncentred, as published, so a mean far from zero counts as one direction.

    Args:
        z: embeddings (N, d).

    Returns:
        From 1, all embeddings on one line through zero, to min(N, d).
    """
    wide = in_float64(z)
    # Singular values by the smaller Gram matrix: linear in N, and float64 keeps them exact to about 1e-8 of the
    # largest, which is below ε. The scale keeps tiny embeddings away from the smallest float.
    wide = wide / wide.abs().amax().clamp(min=torch.finfo(torch.float64).tiny)
    gram = wide.T @ wide if z.shape[1] <= len(z) else wide @ wide.T
    sigma = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    p = sigma / sigma.sum().clamp(min=torch.finfo(torch.float64).tiny) + EPSILON
    return float((-(p * p.log()).sum()).exp())


def alignment(z1: Tensor, z2: Tensor) -> float:
    """Mean squared distance of positive pairs on the unit sphere (Wang & Isola 2020, arXiv:2005.10242, alpha = 2).

    Args:
        z1, z2: embeddings (N, d) of two views of the same N images.

    Returns:
        From 0, both views give the same direction, to 4, opposite ones.
    """
    return float((directions(z1) - directions(z2)).square().sum(dim=1).mean())


def uniformity(z: Tensor, block: int = BLOCK) -> float:
    """Log of the mean of exp(-2 ||zi - zj||²) over all pairs i ≠ j on the unit sphere (Wang & Isola 2020, t = 2).

    Time grows with the square of N, as there are pairs; give it a subsample. Memory is that of `block` x N numbers.

    Args:
        z: embeddings (N, d), at least two.
        block: embeddings at a time.

    Returns:
        0 when all embeddings are one point, and about -4 when they are spread evenly over a sphere of many dimensions.

    Raises:
        ValueError: fewer than two embeddings make no pair.
    """
    if len(z) < 2:
        raise ValueError(f"{len(z)} embedding makes no pair")
    unit = directions(z)
    squares = unit.square().sum(dim=1)
    total = 0.0
    for start in range(0, len(unit), block):
        part = slice(start, start + block)
        distances = (squares[part, None] + squares - 2 * unit[part] @ unit.T).clamp(min=0)
        kernel = (-2 * distances).exp()
        kernel[:, part].fill_diagonal_(0)  # an embedding makes no pair with itself
        total += float(kernel.sum())
    return math.log(total / (len(z) * (len(z) - 1)))


@dataclass(frozen=True)
class Collapse:
    """What became of a representation.

    Attributes:
        collapsed: whether it is of no use.
        kind: "complete", all embeddings are almost one point; "dimensional", they spread, but along few directions.
        reason: one sentence that says by which numbers.
    """

    collapsed: bool
    kind: Literal["none", "complete", "dimensional"]
    reason: str


def collapse_of(std: float, rank: float, *, std_threshold: float, rank_threshold: float) -> Collapse:
    """Names a collapse by the spread of the embeddings and their rank.

    Args:
        std: `embedding_std` of the embeddings, 1 healthy.
        rank: their `effective_rank`, in dimensions.
        std_threshold: a std below it is a complete collapse.
        rank_threshold: a rank below it, with a std that is not, is a dimensional collapse.

    Raises:
        ValueError: a number is not finite: the training diverged, which is not a collapse.
    """
    if not (math.isfinite(std) and math.isfinite(rank)):
        raise ValueError(f"std {std} and effective rank {rank} must be finite")
    if std < std_threshold:
        return Collapse(
            True,
            "complete",
            f"All embeddings are almost one point: the std of their directions is {std:.3g} of an even spread's, "
            f"below {std_threshold:g} (effective rank {rank:.1f}).",
        )
    if rank < rank_threshold:
        return Collapse(
            True,
            "dimensional",
            f"The embeddings lie along few directions: their effective rank is {rank:.1f}, below {rank_threshold:g}, "
            f"though the std of their directions is {std:.3g} of an even spread's.",
        )
    return Collapse(
        False,
        "none",
        f"The embeddings spread: the std of their directions is {std:.3g} of an even spread's, not below "
        f"{std_threshold:g}, and their effective rank is {rank:.1f}, not below {rank_threshold:g}.",
    )


def first_collapse(epochs: Sequence[int], stds: Sequence[float], threshold: float) -> int | None:
    """The first epoch from which the std stays below the threshold to the end; None if it ends at or above it.

    Args:
        epochs: in rising order.
        stds: `embedding_std` after each of them.
        threshold: a std below it is a collapse.

    Raises:
        ValueError: there are not as many stds as epochs.
    """
    first = None
    for epoch, std in zip(epochs, stds, strict=True):
        if not std < threshold:
            first = None
        elif first is None:
            first = epoch
    return first
