"""Detect degenerate images: not finite, nearly uniform, or clipped to black or white."""

import torch
from torch import Tensor

from triptych.core.errors import InputError

# Smallest median standard deviation of the luminance: two of 255 grey levels, on [-1, 1].
LEAST_SPREAD = 2 * 2 / 255
# Few pixels of natural images are black or white. If nine tenths of all values are, the sampler has diverged.
MOST_CLIPPED = 0.9
# Values at this distance from 0 or farther become black or white in an 8-bit file.
CLIPPED_FROM = 1 - 1 / 255


def spread(images: Tensor) -> Tensor:
    """Return the standard deviation of the luminance of each float image (N, C, H, W), as a tensor (N,)."""
    return images.mean(dim=1).flatten(1).std(dim=1)


def clipped_share(images: Tensor) -> float:
    """Return the fraction of values that become 0 or 255 when float images in [-1, 1] are converted to 8 bits."""
    return float((images.abs() >= CLIPPED_FROM).float().mean())


def refuse_degenerate(images: Tensor) -> None:
    """Raise InputError if a value is not finite, over 90% of values are clipped, or most images are nearly uniform."""
    hint = "train longer, lower the learning rate, or set a gradient_clip"
    if not bool(torch.isfinite(images).all()):
        raise InputError(f"samples: {int((~torch.isfinite(images)).sum())} values are not finite; {hint}")
    if (share := clipped_share(images)) > MOST_CLIPPED:
        raise InputError(f"samples: {share:.0%} of all values are clipped to black or white; {hint}")
    if (median := float(spread(images).median())) < LEAST_SPREAD:
        raise InputError(f"samples: most are nearly uniform (median luminance std is only {median:.4f}); {hint}")
