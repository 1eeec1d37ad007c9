"""Measures on images themselves, no network involved."""

import numpy as np
from scipy.ndimage import laplace

# Rec. 601 luma, as JPEG and most measures of sharpness use it.
LUMA = np.array([0.299, 0.587, 0.114])
# Images at once, which as float64 take 24 bytes for each of their pixels.
BLOCK = 1024


def luminance(images: np.ndarray) -> np.ndarray:
    """uint8 (N, C, H, W) -> float (N, H, W) in [0, 1]; one-channel images are their own luminance."""
    wide = images.astype(np.float64) / 255
    return wide[:, 0] if images.shape[1] == 1 else np.tensordot(wide, LUMA, axes=(1, 0))


def sharpness(images: np.ndarray) -> np.ndarray:
    """(N,) the variance of each image's Laplacian, the usual focus measure (Pech-Pacheco et al. 2000)."""
    blocks = (images[start : start + BLOCK] for start in range(0, len(images), BLOCK))
    return np.concatenate([laplace(luminance(b), axes=(1, 2), mode="nearest").var(axis=(1, 2)) for b in blocks])
