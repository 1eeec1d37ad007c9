"""Luminance and sharpness of images."""

import numpy as np
from scipy.ndimage import convolve, laplace

# Rec. 601 luma, as in JPEG.
LUMA = np.array([0.299, 0.587, 0.114])
LAPLACE_GAIN = 20.0  # variance of the Laplacian of white noise with variance 1
NOISE_MASK = np.array([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]])
MEDIAN_OF_NORMAL = 0.6745  # median of the absolute value of N(0, 1)
BLOCK = 1024  # images per block; as float64 they occupy 24 bytes per pixel


def luminance(images: np.ndarray) -> np.ndarray:
    """Return the luminance (N, H, W) of uint8 images (N, C, H, W), as floats in [0, 1]."""
    wide = images.astype(np.float64) / 255
    return wide[:, 0] if images.shape[1] == 1 else np.tensordot(wide, LUMA, axes=(1, 0))


def sharpness(images: np.ndarray) -> np.ndarray:
    """Return the sharpness (N,) of uint8 images (N, C, H, W).

    Sharpness is the variance of the Laplacian (Pech-Pacheco et al. 2000) minus the part that white noise contributes.
    """
    blocks = (luminance(images[start : start + BLOCK]) for start in range(0, len(images), BLOCK))
    return np.concatenate(
        [
            np.maximum(laplace(b, axes=(1, 2), mode="nearest").var(axis=(1, 2)) - LAPLACE_GAIN * noise_std(b) ** 2, 0)
            for b in blocks
        ]
    )


def noise_std(luminances: np.ndarray) -> np.ndarray:
    """Return estimates (N,) of the standard deviation of white noise in images with luminances (N, H, W).

    A convolution suppresses edges (Immerkaer 1996, Computer Vision and Image Understanding 64, 300-302). The median
    absolute response is used, because it is robust to remaining edges (Donoho & Johnstone 1994, section 4.2).
    """
    response = convolve(luminances, NOISE_MASK[None], mode="nearest")[:, 1:-1, 1:-1]
    return np.median(np.abs(response), axis=(1, 2)) / (MEDIAN_OF_NORMAL * np.linalg.norm(NOISE_MASK))
