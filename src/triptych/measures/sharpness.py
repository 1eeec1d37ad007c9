"""Luminance and sharpness of images."""

import numpy as np
from scipy.ndimage import laplace

# Rec. 601 luma, as in JPEG.
LUMA = np.array([0.299, 0.587, 0.114])
BLOCK = 1024  # images per block; as float64 they occupy 24 bytes per pixel


def luminance(images: np.ndarray) -> np.ndarray:
    """Return the luminance (N, H, W) of uint8 images (N, C, H, W), as floats in [0, 1]."""
    wide = images.astype(np.float64) / 255
    return wide[:, 0] if images.shape[1] == 1 else np.tensordot(wide, LUMA, axes=(1, 0))


def sharpness(images: np.ndarray) -> np.ndarray:
    """Return the sharpness (N,) of uint8 images: the variance of the Laplacian (Pech-Pacheco et al. 2000)."""
    blocks = (images[start : start + BLOCK] for start in range(0, len(images), BLOCK))
    return np.concatenate([laplace(luminance(b), axes=(1, 2), mode="nearest").var(axis=(1, 2)) for b in blocks])
