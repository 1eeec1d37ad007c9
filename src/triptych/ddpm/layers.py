"""Layers that the diffusion networks share."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class TimeEmbedding(nn.Module):
    """Sinusoids of a time (Ho et al. 2020, arXiv:2006.11239, appendix B), then two linear layers with SiLU.

    Times count in thousandths of the noising process: t in 1 to 1000 for a DDPM. They may be fractions.

    Args:
        sinusoids: number of sines and cosines together; even.
        size: size of the embedding.
    """

    SLOWEST = 10_000.0

    def __init__(self, sinusoids: int, size: int) -> None:
        super().__init__()
        if sinusoids % 2:
            raise ValueError(f"sines and cosines come in pairs, got {sinusoids}")
        self.half = sinusoids // 2
        self.first = nn.Linear(sinusoids, size)
        self.second = nn.Linear(size, size)

    def forward(self, times: Tensor) -> Tensor:
        """(B,) -> (B, size)."""
        step = math.log(self.SLOWEST) / max(1, self.half - 1)
        frequencies = torch.exp(torch.arange(self.half, device=times.device, dtype=torch.float32) * -step)
        phases = times.float()[:, None] * frequencies
        waves = torch.cat([phases.sin(), phases.cos()], dim=1)
        return self.second(functional.silu(self.first(waves)))


# Positions up to which a CPU computes attention as two products: the fused kernel is made for many, and took a tenth of
# the DDPM's train step in bfloat16.
FEW_POSITIONS = 256


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(QK' / sqrt(d)) V, each (B, heads, positions, d) (Vaswani et al. 2017, arXiv:1706.03762, equation 1)."""
    positions, size = query.shape[-2:]
    if query.device.type == "cpu" and positions <= FEW_POSITIONS:
        return (query @ key.transpose(-2, -1) / math.sqrt(size)).softmax(dim=-1) @ value
    return functional.scaled_dot_product_attention(query, key, value)


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of each position (Ba et al. 2016, arXiv:1607.06450).

    In channels last these lie side by side: on a CPU in bfloat16 this costs a quarter of torch's GroupNorm.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class SelfAttention(nn.Module):
    """Multi-head attention over all positions, with its norm before and a shortcut around it.

    Args:
        channels: in and out.
        heads: number of heads.
        head_size: channels of a head.
        norm: what normalises the input.
    """

    def __init__(self, channels: int, heads: int, head_size: int, norm: nn.Module) -> None:
        super().__init__()
        self.heads = heads
        self.norm = norm
        self.qkv = nn.Conv2d(channels, 3 * heads * head_size, 1, bias=False)
        self.out = nn.Conv2d(heads * head_size, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> the same shape."""
        height, width = x.shape[2:]
        # Channels last makes this a view: (B, positions, 3, heads, head size).
        qkv = self.qkv(self.norm(x)).permute(0, 2, 3, 1).flatten(1, 2).unflatten(2, (3, self.heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = attend(query, key, value)
        mixed = mixed.transpose(1, 2).flatten(2).unflatten(1, (height, width)).permute(0, 3, 1, 2)
        return x + self.out(mixed)


def upsample(x: Tensor) -> Tensor:
    """Nearest-neighbour upsampling by 2, (B, C, H, W) -> (B, C, 2H, 2W)."""
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")
