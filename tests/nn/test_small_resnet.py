"""The small encoder sees what it should of an image."""

import pytest
import torch

from triptych.nn.backbones import SmallResNet
from triptych.nn.fast.norm import standardised

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_standardised_encoder_sees_no_brightness_contrast_or_cast():
    torch.manual_seed(0)
    encoder = SmallResNet(3, width=4, blocks=[1, 1], stem_stride=2, standardise=True).eval()
    images = torch.rand((4, 3, 16, 16), generator=torch.Generator().manual_seed(1)) * 2 - 1
    cast = torch.tensor([0.3, 0.5, 0.7]).view(1, 3, 1, 1)
    torch.testing.assert_close(encoder(images * cast + 0.2), encoder(images), rtol=0, atol=2e-3)
    plain = SmallResNet(3, width=4, blocks=[1, 1], stem_stride=2).eval()
    plain.load_state_dict(encoder.state_dict())
    assert (plain(images * cast + 0.2) - plain(images)).abs().max() > 0.02
    # A flat image has nothing to scale up.
    assert torch.equal(standardised(torch.full((1, 3, 4, 4), 0.5)), torch.zeros(1, 3, 4, 4))
    seen = standardised(images)
    torch.testing.assert_close(seen.mean(dim=(2, 3)), torch.zeros(4, 3), rtol=0, atol=1e-5)
    torch.testing.assert_close(seen.var(dim=(2, 3), correction=0), torch.ones(4, 3), rtol=0, atol=1e-2)
