"""Sharpness is the variance of the Laplacian of luminance, without that of noise."""

import numpy as np
import pytest
from scipy import ndimage

from triptych.measures.sharpness import luminance, noise_std, sharpness


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_luminance_is_pillow_s():
    from PIL import Image

    images = pixels(2, 3, 6, 6)
    grey = np.asarray(Image.fromarray(images[0].transpose(1, 2, 0)).convert("L"))
    np.testing.assert_allclose(luminance(images)[0] * 255, grey, atol=1)
    np.testing.assert_allclose(luminance(images[:, :1])[0] * 255, images[0, 0])


def test_blocks_do_not_change_sharpness(monkeypatch: pytest.MonkeyPatch):
    images = pixels(10, 3, 7, 9)
    whole = sharpness(images)
    monkeypatch.setattr("triptych.measures.sharpness.BLOCK", 3)
    np.testing.assert_allclose(sharpness(images), whole, rtol=1e-12)


def squares(count: int, side: int = 32) -> np.ndarray:
    """Return images of a bright square on a dark ground, without noise."""
    images = np.full((count, 1, side, side), 60, np.uint8)
    for index in range(count):
        images[index, :, 8 : 18 + index, 10:20] = 180 + 10 * index
    return images


def test_sharpness_without_noise_is_the_variance_of_the_laplacian():
    images = squares(3)
    padded = np.pad(images[:, 0] / 255, ((0, 0), (1, 1), (1, 1)), mode="edge")
    centre = padded[:, 1:-1, 1:-1]
    sides = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
    np.testing.assert_allclose(sharpness(images), (sides - 4 * centre).var(axis=(1, 2)))


@pytest.mark.parametrize("std", [0.01, 0.02, 0.04])
def test_noise_is_measured_and_adds_no_sharpness(std):
    clean = squares(3).repeat(50, axis=0)
    noisy = clean / 255 + np.random.default_rng(0).normal(0, std, clean.shape)
    noisy = np.rint(255 * noisy.clip(0, 1)).astype(np.uint8)
    assert noise_std(luminance(noisy)).mean() == pytest.approx(std, rel=0.1)
    assert sharpness(noisy).mean() == pytest.approx(sharpness(clean).mean(), rel=0.2)  # without correction 1.1 to 2.4
    assert sharpness(pixels(50, 1, 32, 32)).mean() < 0.3 * ndimage.laplace(pixels(50, 1, 32, 32) / 255).var()


def test_sharpness_falls_with_every_blur_and_is_zero_on_a_wall():
    images = squares(4)
    blurred = [ndimage.gaussian_filter(images, (0, 0, sigma, sigma)) for sigma in (0.5, 1, 2)]
    measured = np.stack([sharpness(level) for level in (images, *blurred)])
    assert (np.diff(measured, axis=0) < 0).all()
    assert sharpness(np.full((1, 3, 8, 8), 77, np.uint8)) == pytest.approx(0, abs=1e-20)
