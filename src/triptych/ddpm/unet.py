"""The report's diffusion network: a UNet with linear attention at every resolution."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from triptych.ddpm.layers import SelfAttention, TimeEmbedding


class ConvNorm(nn.Module):
    """3x3 convolution, GroupNorm; the caller adds the time, then SiLU."""

    def __init__(self, before: int, after: int, groups: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(before, after, 3, padding=1)
        self.norm = nn.GroupNorm(groups, after)

    def forward(self, x: Tensor) -> Tensor:
        """(B, before, H, W) -> (B, after, H, W)."""
        return self.norm(self.convolution(x))


class ResidualBlock(nn.Module):
    """Two convolutions with GroupNorm and SiLU; the time is added to each channel between them.

    Args:
        before, after: channels in and out.
        time_size: size of the time embedding; 0 for a block that does not know the time.
        groups: of the norms.
    """

    def __init__(self, before: int, after: int, time_size: int, groups: int) -> None:
        super().__init__()
        self.first = ConvNorm(before, after, groups)
        self.second = ConvNorm(after, after, groups)
        self.time = nn.Linear(time_size, after) if time_size else None
        self.shortcut = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(B, before, H, W) and (B, time_size) -> (B, after, H, W)."""
        hidden = functional.silu(self.first(x))
        if self.time:
            hidden = hidden + self.time(time)[:, :, None, None]
        return functional.silu(self.second(hidden)) + self.shortcut(x)


class LinearAttention(nn.Module):
    """Attention whose cost is linear in the positions (Shen et al. 2021, arXiv:1812.01243), around it a shortcut.

    Queries are normalised over the channels of a head, keys over the positions; so keys and values make a small matrix
    once, which each query reads.
    """

    def __init__(self, channels: int, heads: int, head_size: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, head_size**-0.5
        self.norm = nn.GroupNorm(1, channels)
        self.qkv = nn.Conv2d(channels, 3 * heads * head_size, 1, bias=False)
        self.out = nn.Sequential(nn.Conv2d(heads * head_size, channels, 1), nn.GroupNorm(1, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> the same shape."""
        height, width = x.shape[2:]
        # Channels last makes this a view: (B, positions, 3, heads, head size).
        qkv = self.qkv(self.norm(x)).permute(0, 2, 3, 1).flatten(1, 2).unflatten(2, (3, self.heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        context = key.softmax(dim=2).transpose(2, 3) @ value
        mixed = (query.softmax(dim=3) * self.scale) @ context
        mixed = mixed.transpose(1, 2).flatten(2).unflatten(1, (height, width)).permute(0, 3, 1, 2)
        return x + self.out(mixed.contiguous(memory_format=torch.channels_last))


class UNet(nn.Module):
    """Levels of two residual blocks and linear attention; full attention in the middle.

    Args:
        image_shape: (C, H, W); H and W are multiples of 2**(levels - 1).
        stem_width: channels of the 7x7 stem.
        width: unit of channels; the time embedding has four times as many.
        multipliers: channels of each level over `width`, from fine to coarse.
        heads: attention heads.
        head_size: channels of a head.
        groups: groups of the blocks' GroupNorm.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        stem_width: int,
        width: int,
        multipliers: list[int],
        heads: int,
        head_size: int,
        groups: int,
    ) -> None:
        super().__init__()
        image_channels, *sides = image_shape
        scale = 2 ** (len(multipliers) - 1)
        if any(side % scale for side in sides):
            raise ValueError(f"{len(multipliers)} levels need sides divisible by {scale}, got {sides}")
        time_size = 4 * width
        channels = [width * m for m in multipliers]
        coarsest = channels[-1]
        self.time = TimeEmbedding(width, time_size)
        self.stem = nn.Conv2d(image_channels, stem_width, 7, padding=3)

        def block(before: int, after: int) -> ResidualBlock:
            return ResidualBlock(before, after, time_size, groups)

        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, (before, after) in enumerate(zip([stem_width, *channels], channels, strict=False)):
            last = level == len(channels) - 1
            shrink = nn.Identity() if last else nn.Conv2d(after, after, 4, stride=2, padding=1)
            attention = LinearAttention(after, heads, head_size)
            self.down.append(nn.ModuleList([block(before, after), block(after, after), attention, shrink]))
        self.middle = nn.ModuleList(
            [
                block(coarsest, coarsest),
                SelfAttention(coarsest, heads, head_size, nn.GroupNorm(1, coarsest)),
                block(coarsest, coarsest),
            ]
        )
        for after, before in zip(channels[-2::-1], channels[:0:-1], strict=True):
            attention = LinearAttention(after, heads, head_size)
            grow = nn.ConvTranspose2d(after, after, 4, stride=2, padding=1)
            self.up.append(nn.ModuleList([block(2 * before, after), block(after, after), attention, grow]))
        self.last = ResidualBlock(channels[0], width, 0, groups)
        self.head = nn.Conv2d(width, image_channels, 1)

    def forward(self, images: Tensor, times: Tensor) -> Tensor:
        """Noisy images (B, C, H, W) and their times (B,) -> the prediction, (B, C, H, W)."""
        time = functional.silu(self.time(times))
        x = self.stem(images)
        skips = []
        for first, second, attention, shrink in self.down:
            x = attention(second(first(x, time), time))
            skips.append(x)
            x = shrink(x)
        before, attention, after = self.middle
        x = after(attention(before(x, time)), time)
        for first, second, attention, grow in self.up:
            x = first(torch.cat([x, skips.pop()], dim=1), time)
            x = grow(attention(second(x, time)))
        return self.head(self.last(x, time))
