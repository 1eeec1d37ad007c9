"""Degenerate samples: not finite, of one colour, or clipped to black and white."""

import torch
from torch import Tensor

from triptych.core.errors import InputError

# A median image whose values spread by less than this on [-1, 1], two of 255 grey levels, shows nothing.
LEAST_SPREAD = 2 * 2 / 255
# Few pixels of natural images are black or white. When nine tenths of all values are, the sampler has diverged.
MOST_CLIPPED = 0.9
# The 8 bits of a file clip a value this close to -1 or 1, or beyond.
CLIPPED_FROM = 1 - 1 / 255


def spread(images: Tensor) -> Tensor:
    """(N,) standard deviation of each image's luminance, float (N, C, H, W) in [-1, 1]."""
    return images.mean(dim=1).flatten(1).std(dim=1)


def clipped_share(images: Tensor) -> float:
    """Share of all values at or beyond the ends of [-1, 1]."""
    return float((images.abs() >= CLIPPED_FROM).float().mean())


def refuse_degenerate(images: Tensor) -> None:
    """Raise InputError, which says what to try, if float images (N, C, H, W) in [-1, 1] are degenerate."""
    hint = "train longer, lower the learning rate, or set a gradient_clip"
    if not bool(torch.isfinite(images).all()):
        raise InputError(f"samples: {int((~torch.isfinite(images)).sum())} values are not finite; {hint}")
    if (share := clipped_share(images)) > MOST_CLIPPED:
        raise InputError(f"samples: {share:.0%} of all values are clipped to black or white; {hint}")
    if (median := float(spread(images).median())) < LEAST_SPREAD:
        raise InputError(f"samples: most are of one colour (median spread {median:.4f} on [-1, 1]); {hint}")
