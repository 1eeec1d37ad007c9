"""Degenerate samples raise InputError, and images do not."""

import pytest
import torch
from toy_diffusion import images, noise_like

from triptych.core.errors import InputError
from triptych.measures.degeneracy import refuse_degenerate


def test_black_nan_flat_and_clipped_samples_are_refused() -> None:
    for bad, word in [
        (torch.full((4, 3, 8, 8), float("nan")), "not finite"),
        (torch.full((4, 3, 8, 8), -1.0), "clipped"),
        (torch.zeros((4, 3, 8, 8)), "nearly uniform"),
        (torch.tensor([0.9, -0.2, 0.1]).view(1, 3, 1, 1).repeat(4, 1, 8, 8), "nearly uniform"),
        (noise_like(torch.zeros(4, 3, 8, 8)) * 1e4, "clipped"),
    ]:
        with pytest.raises(InputError, match=word):
            refuse_degenerate(bad)


def test_images_pass_as_samples() -> None:
    refuse_degenerate(images())
