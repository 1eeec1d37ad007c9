"""The network of the VAE: number of parameters, shapes, and a finite KL."""

import pytest
import torch
from torch import Tensor

from triptych.vae.model import LOG_VARIANCE_RANGE, VAE, UpsampledConv
from triptych.vae.objective import kl_to_standard_normal

pytestmark = pytest.mark.usefixtures("one_thread")


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_report_s_network_has_its_parameters():
    """Counted by hand: 1.18 million, as the report says."""
    channels, latents = [32, 64, 128, 256], 32
    conv = sum(i * o * 16 + o + 2 * o for i, o in zip([3, *channels], channels, strict=False))  # 4x4, bias, batch norm
    heads = 2 * (256 * 2 * 2 * latents + latents)
    expand = latents * 256 * 2 * 2 + 256 * 2 * 2
    pairs = [(256, 128), (128, 64), (64, 32), (32, 3)]
    decoder = sum(i * o * 9 + o for i, o in pairs)
    count = sum(p.numel() for p in VAE((3, 32, 32), channels, latents).parameters())
    assert count == conv + heads + expand + decoder == 1_178_659


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 16, 16), (3, 48, 48)])
def test_shapes_of_codes_and_images(shape):
    network = VAE(shape, [4, 8], 6).eval()
    mu, log_var = network.encode(numbers(2, *shape))
    assert mu.shape == log_var.shape == (2, 6) and network.decode(mu).shape == (2, *shape)


def test_indivisible_image_sizes_are_refused():
    with pytest.raises(ValueError, match="divisible by 16"):
        VAE((3, 28, 28), [4, 8, 16, 32], 8)


def test_the_log_variance_is_bounded_and_the_kl_stays_finite():
    network = VAE((1, 4, 4), [4], 2).eval()
    for images in (1e6 * numbers(3, 1, 4, 4), -1e6 * numbers(3, 1, 4, 4)):
        mu, log_var = network.encode(images)
        assert LOG_VARIANCE_RANGE[0] <= log_var.min() and log_var.max() <= LOG_VARIANCE_RANGE[1]
        assert torch.isfinite(kl_to_standard_normal(mu, log_var)).all()


@pytest.mark.parametrize("autocast", [False, True])
def test_upsampling_and_convolution_in_one_step_equal_both_steps(autocast):
    torch.manual_seed(0)
    fused = UpsampledConv(6, 5)
    steps = torch.nn.Sequential(torch.nn.Upsample(scale_factor=2), torch.nn.Conv2d(6, 5, 3, padding=1))
    steps[1].load_state_dict(fused.state_dict())
    x = torch.randn(3, 6, 4, 7)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        outputs = [module(x.clone().requires_grad_()) for module in (fused, steps)]
    for output in outputs:
        output.float().square().sum().backward()
    torch.testing.assert_close(*outputs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(fused.weight.grad, steps[1].weight.grad, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(fused.bias.grad, steps[1].bias.grad, rtol=1e-5, atol=1e-3)
    if autocast:
        assert torch.equal(*outputs)
