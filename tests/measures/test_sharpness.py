"""Sharpness is the variance of the Laplacian of luminance."""

import numpy as np
import pytest
from scipy import ndimage

from triptych.measures.sharpness import luminance, sharpness


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


def test_sharpness_is_the_variance_of_the_laplacian():
    images = pixels(3, 1, 7, 9)
    padded = np.pad(images[:, 0] / 255, ((0, 0), (1, 1), (1, 1)), mode="edge")
    centre = padded[:, 1:-1, 1:-1]
    sides = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
    np.testing.assert_allclose(sharpness(images), (sides - 4 * centre).var(axis=(1, 2)))


def test_sharpness_falls_with_every_blur_and_is_zero_on_a_wall():
    images = pixels(4, 3, 32, 32)
    blurred = [ndimage.gaussian_filter(images, (0, 0, sigma, sigma)) for sigma in (0.5, 1, 2)]
    measured = np.stack([sharpness(level) for level in (images, *blurred)])
    assert (np.diff(measured, axis=0) < 0).all()
    assert sharpness(np.full((1, 3, 8, 8), 77, np.uint8)) == pytest.approx(0, abs=1e-20)
