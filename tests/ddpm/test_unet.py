"""Networks of the diffusion model: sizes, dependence on inputs, and the profiles at full size."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from triptych.cli.profiles import merged
from triptych.core.schema import validate
from triptych.ddpm.model import (
    FEW_POSITIONS,
    ChannelNorm,
    LinearAttention,
    PatchUNet,
    SelfAttention,
    TimeEmbedding,
    UNet,
    attend,
    denoising_network,
)
from triptych.ddpm.objective import diffusion_method
from triptych.ddpm.params import DDPMParams
from triptych.machine.device import Machine
from triptych.training.checkpoint import Checkpoints
from triptych.training.loop import Plan, Trainer
from triptych.training.objective import Resident

ROOT = Path(__file__).parents[2]
SVHN_SHAPE = (3, 32, 32)
REPORT = {"stem_width": 20, "width": 32, "multipliers": [1, 2, 4, 8], "heads": 4, "head_size": 32, "groups": 8}
SMALL_PATCH = {
    "patch": 2,
    "channels": [16, 32],
    "blocks": [1, 2],
    "attention": [False, True],
    "middle_blocks": 1,
    "head_size": 16,
    "time_size": 32,
}


def profile(name: str) -> DDPMParams:
    return validate(DDPMParams, merged(name, ROOT)["ddpm"], "ddpm", Path(name))


def awaken(network: nn.Module) -> nn.Module:
    """Replace zero weights by random ones, so that the output depends on every layer."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.05)
    return network.eval()


def small(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "patch_unet":
        return awaken(PatchUNet((3, 16, 16), **SMALL_PATCH))
    return awaken(UNet((3, 16, 16), **REPORT | {"stem_width": 8, "width": 8, "multipliers": [1, 2], "groups": 4}))


def test_the_reports_unet_has_its_parameters_and_multiplications() -> None:
    network = UNet(SVHN_SHAPE, **REPORT)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(8.07, abs=0.005)
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, *SVHN_SHAPE), torch.ones(1))
    assert counter.get_total_flops() / 2e6 == pytest.approx(328, abs=0.5)


@pytest.mark.parametrize("name", ["unet", "patch_unet"])
def test_output_has_the_images_shape_and_depends_on_time_and_image_alone(name: str) -> None:
    network = small(name)
    images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    times = torch.tensor([1.0, 30.0, 120.0, 900.0])
    with torch.no_grad():
        together = network(images, times)
        assert together.shape == images.shape
        # Images of a batch do not influence each other.
        alone = torch.cat([network(images[i : i + 1], times[i : i + 1]) for i in range(4)])
        torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(together, network(images, times + 50), atol=1e-3)


@pytest.mark.parametrize("name", ["unet", "patch_unet"])
def test_every_parameter_gets_a_gradient(name: str) -> None:
    network = small(name)
    network(torch.randn(2, 3, 16, 16), torch.tensor([10.0, 500.0])).square().sum().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    # A bias before a softmax over positions or a norm over channels has no effect; all other parameters have.
    assert not [name for name in idle if not name.endswith("bias")]


@pytest.mark.parametrize("name", ["unet", "patch_unet"])
def test_every_output_pixel_sees_the_whole_image(name: str) -> None:
    network, images = small(name), torch.randn(1, 3, 16, 16, requires_grad=True)
    network(images, torch.tensor([100.0]))[0, :, 0, 0].sum().backward()
    assert bool((images.grad[0].abs().sum(dim=0) > 0).all())


def test_an_untrained_patch_unet_predicts_zero() -> None:
    torch.manual_seed(0)
    network = PatchUNet((3, 16, 16), **SMALL_PATCH)
    assert not network(torch.randn(2, 3, 16, 16), torch.tensor([1.0, 2.0])).any()


@pytest.mark.parametrize("name", ["unet", "patch_unet"])
def test_indivisible_image_sizes_are_refused(name: str) -> None:
    sizes = REPORT if name == "unet" else SMALL_PATCH
    with pytest.raises(ValueError, match="divisible by"):
        denoising_network(name, image_shape=(3, 18 if name == "patch_unet" else 28, 32), **sizes)


def heads_of(layer: nn.Module, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return query, key and value of a single image, each (heads, positions, head_size)."""
    qkv = layer.qkv(normed)[0].flatten(1).T
    query, key, value = qkv.unflatten(1, (3, layer.heads, -1)).permute(1, 2, 0, 3)
    return query, key, value


def test_self_attention_is_softmax_of_scaled_products() -> None:
    layer, x = SelfAttention(8, 2, 4, ChannelNorm(8)), torch.randn(1, 8, 3, 5)
    query, key, value = heads_of(layer, layer.norm(x))
    mixed = torch.stack([(q @ k.T / 2).softmax(dim=1) @ v for q, k, v in zip(query, key, value, strict=True)])
    image = mixed.permute(0, 2, 1).reshape(1, 8, 3, 5)
    torch.testing.assert_close(layer(x), x + layer.out(image), atol=1e-5, rtol=1e-5)


def test_the_norm_is_over_the_channels_of_each_position() -> None:
    norm, x = ChannelNorm(8), torch.randn(2, 8, 3, 5)
    nn.init.uniform_(norm.weight)
    nn.init.uniform_(norm.bias)
    mean, deviation = x.mean(dim=1, keepdim=True), (x.var(dim=1, keepdim=True, correction=0) + norm.eps).sqrt()
    expected = (x - mean) / deviation * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)
    torch.testing.assert_close(norm(x), expected, atol=1e-5, rtol=1e-5)
    # With channels last, both permutations are views, so the next convolution gets its preferred layout.
    assert norm(x.contiguous(memory_format=torch.channels_last)).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("positions", [FEW_POSITIONS, FEW_POSITIONS + 1])
def test_attention_over_few_positions_and_over_many_is_the_same(positions: int) -> None:
    query, key, value = torch.randn(3, 2, 2, positions, 4).double()
    weights = torch.einsum("bhqd,bhkd->bhqk", query, key) / 2
    expected = torch.einsum("bhqk,bhkd->bhqd", weights.softmax(dim=-1), value)
    torch.testing.assert_close(attend(query, key, value), expected)


def test_linear_attention_is_its_quadratic_form() -> None:
    """Each query reads all positions with weights sum_d softmax(q)_d softmax(k)_d."""
    layer, x = LinearAttention(8, 2, 4), torch.randn(1, 8, 3, 5)
    query, key, value = heads_of(layer, layer.norm(x))
    weights = query.softmax(dim=2) @ key.softmax(dim=1).transpose(1, 2) / 2
    image = (weights @ value).permute(0, 2, 1).reshape(1, 8, 3, 5)
    torch.testing.assert_close(layer(x), x + layer.out(image), atol=1e-5, rtol=1e-5)


def test_time_embedding_separates_neighbouring_times() -> None:
    embedding = TimeEmbedding(32, 64)
    with torch.no_grad():
        out = embedding(torch.tensor([1.0, 2.0, 999.0, 1000.0]))
    distances = torch.cdist(out, out) + torch.eye(4)
    assert float(distances.min()) > 1e-3


@pytest.mark.parametrize("name", ["report", "best"])
def test_gpu_profiles_take_their_first_steps_at_full_size_on_svhns_shape(name: str, tmp_path: Path) -> None:
    study = profile(name)
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (8, *SVHN_SHAPE), generator=draw, dtype=torch.uint8)
    data = Resident(images, torch.arange(8) % 10)
    network = denoising_network(image_shape=SVHN_SHAPE, **study.network.model_dump())
    before = [p.clone() for p in network.parameters()]
    recipe = study.training.model_copy(update={"epochs": 1, "batch_size": 4, "snapshot_epochs": [1]})
    place = Machine(torch.device("cpu"), torch.float32, torch.get_num_threads())
    method = diffusion_method(network, study.process)
    trained = Trainer(method, data, recipe, Plan("ddpm", 0, 1e9), place, Checkpoints("ddpm", "k", root=tmp_path)).run()
    assert trained.history[0]["images"] == 8
    assert 0 < trained.history[0]["loss"] < 10
    assert all(torch.isfinite(p).all() for p in method.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, method.parameters(), strict=True))
