"""Peak signal-to-noise ratio (PSNR) and structural similarity (SSIM) of pairs of images."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

# Window and constants of SSIM (Wang et al. 2004, section III.C).
WINDOW, WINDOW_SIGMA, K1, K2 = 11, 1.5, 0.01, 0.03
RANGE = 255.0
# Mean squared error of rounding to whole levels. It limits PSNR to 58.9 dB.
ROUNDING = 1 / 12


def psnr(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the PSNR in dB of each pair of uint8 images a[i] and b[i], as an array (N,). The maximum is 58.9 dB."""
    errors = np.square(a.astype(np.float64) - b).reshape(len(a), -1).mean(axis=1)
    return 10 * np.log10(RANGE**2 / np.maximum(errors, ROUNDING))


def ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the structural similarity (N,) of pairs of uint8 images a[i] and b[i] from arrays (N, C, H, W).

    Equation 13 of Wang et al. (2004) is averaged over channels and over all positions of an 11x11 window.
    """
    x, y = (torch.as_tensor(np.array(images)).double().flatten(0, 1)[:, None] for images in (a, b))
    mean_x, mean_y = _blur(x), _blur(y)
    var_x, var_y = _blur(x.square()) - mean_x.square(), _blur(y.square()) - mean_y.square()
    covariance = _blur(x * y) - mean_x * mean_y
    c1, c2 = (K1 * RANGE) ** 2, (K2 * RANGE) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    structure = (2 * covariance + c2) / (var_x + var_y + c2)
    return (luminance * structure).flatten(1).mean(dim=1).view(len(a), -1).mean(dim=1).numpy()


def _blur(x: Tensor) -> Tensor:
    # Gaussian-weighted means (N, 1, H - 10, W - 10) of the 11x11 windows
    offsets = torch.arange(WINDOW, dtype=x.dtype) - WINDOW // 2
    weights = torch.exp(-0.5 * (offsets / WINDOW_SIGMA).square())
    weights = weights / weights.sum()
    return functional.conv2d(functional.conv2d(x, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))
