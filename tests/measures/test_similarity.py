"""SSIM and PSNR equal those of torchmetrics."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure
from toy_images import pictures

from triptych.measures.similarity import psnr, ssim


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_and_psnr_are_torchmetrics(channels: int) -> None:
    """torchmetrics pads the image by reflection, so the outer 5 pixels of its map are removed."""
    a = pictures(5, channels)
    noisy = a + np.random.default_rng(1).normal(0, 25, a.shape)
    b = noisy.clip(0, 255).astype(np.uint8)
    x, y = (torch.from_numpy(i).double() for i in (a, b))
    _, places = structural_similarity_index_measure(x, y, data_range=255.0, reduction="none", return_full_image=True)
    np.testing.assert_allclose(ssim(a, b), places[..., 5:-5, 5:-5].mean(dim=(1, 2, 3)).numpy(), atol=1e-6)
    each = peak_signal_noise_ratio(x, y, data_range=255.0, reduction="none", dim=(1, 2, 3))
    np.testing.assert_allclose(psnr(a, b), each.numpy(), rtol=1e-6)


def test_an_image_is_most_similar_to_itself() -> None:
    a = pictures(3)
    np.testing.assert_allclose(ssim(a, a), 1)
    assert np.isfinite(psnr(a, a)).all()
    assert (psnr(a, a) > psnr(a, a ^ 1)).all()
