"""Embeddings compared by their directions."""

import pytest
import torch

from triptych.ssl.shared.network import negative_cosine, spread

pytestmark = pytest.mark.usefixtures("one_thread")


def test_spread_is_one_when_healthy_and_zero_when_collapsed():
    torch.manual_seed(0)
    assert spread(torch.randn(4000, 64)) == pytest.approx(1, abs=0.02)
    assert spread(torch.ones(100, 64)) == pytest.approx(0, abs=1e-6)


def test_negative_cosine_is_minus_one_where_directions_agree():
    assert negative_cosine(torch.ones(4, 3), 2 * torch.ones(4, 3)) == pytest.approx(-1)
    assert negative_cosine(torch.eye(3), -torch.eye(3)) == pytest.approx(1)
