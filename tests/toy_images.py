"""Images for tests."""

import numpy as np


def pictures(count: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Return smooth random uint8 images."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, channels, 8, 8))
    return coarse.repeat(4, axis=2).repeat(4, axis=3).astype(np.uint8)
