"""Samples that are no images: not finite, black, of one colour, or clipped all over."""

import torch
from torch import Tensor

from triptych.core.errors import InputError

# A median image whose values spread by less than this, on [-1, 1], shows nothing: two of 255 grey levels.
LEAST_SPREAD = 2 * 2 / 255
# Natural images touch black or white in few pixels. When nine tenths of all values do, the sampler has diverged.
MOST_CLIPPED = 0.9
# A value this close to -1 or 1, or beyond, is clipped by the 8 bits of a file.
CLIPPED_FROM = 1 - 1 / 255


def spread(images: Tensor) -> Tensor:
    """(N,) standard deviation of each image's luminance, float (N, C, H, W) in [-1, 1]."""
    return images.mean(dim=1).flatten(1).std(dim=1)


def clipped_share(images: Tensor) -> float:
    """Share of all values that lie at or beyond the ends of [-1, 1]."""
    return float((images.abs() >= CLIPPED_FROM).float().mean())


def refuse_degenerate(images: Tensor) -> None:
    """Passes images, float (N, C, H, W) in [-1, 1], that could be images.

    Raises:
        InputError: they are not; the message says what they are and what to try.
    """
    hint = "train longer, lower the learning rate, or set a gradient_clip"
    if not bool(torch.isfinite(images).all()):
        raise InputError(f"samples: {int((~torch.isfinite(images)).sum())} values are not finite; {hint}")
    if (share := clipped_share(images)) > MOST_CLIPPED:
        raise InputError(f"samples: {share:.0%} of all values are clipped to black or white; {hint}")
    if (median := float(spread(images).median())) < LEAST_SPREAD:
        raise InputError(f"samples: most are of one colour (median spread {median:.4f} on [-1, 1]); {hint}")
