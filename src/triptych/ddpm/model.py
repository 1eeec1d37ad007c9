"""Networks of the diffusion model: a fast UNet over patches of pixels, and the UNet of the original report."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

# Up to this number of positions a CPU computes attention as two matrix products. The fused kernel is slower here: it
# took a tenth of the DDPM's training step in bfloat16.
FEW_POSITIONS = 256


class TimeEmbedding(nn.Module):
    """Sinusoidal embedding of times (Ho et al. 2020, arXiv:2006.11239, appendix B), followed by two linear layers.

    Times are real numbers, and the frequencies suit times from 1 to 1000. `sinusoids` is the total number of sines and
    cosines, and `size` is the number of outputs.
    """

    def __init__(self, sinusoids: int, size: int) -> None:
        super().__init__()
        if sinusoids % 2:
            raise ValueError(f"sinusoids must be even (pairs of sine and cosine), got {sinusoids}")
        self.half = sinusoids // 2
        self.first = nn.Linear(sinusoids, size)
        self.second = nn.Linear(size, size)

    def forward(self, times: Tensor) -> Tensor:
        """Return embeddings of shape (B, size) for times of shape (B,)."""
        step = math.log(10_000.0) / max(1, self.half - 1)
        frequencies = torch.exp(torch.arange(self.half, device=times.device, dtype=torch.float32) * -step)
        phases = times.float()[:, None] * frequencies
        waves = torch.cat([phases.sin(), phases.cos()], dim=1)
        return self.second(functional.silu(self.first(waves)))


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return softmax(Q K^T / sqrt(d)) V (Vaswani et al. 2017) for Q, K and V of shape (B, heads, positions, d)."""
    positions, size = query.shape[-2:]
    if query.device.type == "cpu" and positions <= FEW_POSITIONS:
        return (query @ key.transpose(-2, -1) / math.sqrt(size)).softmax(dim=-1) @ value
    return functional.scaled_dot_product_attention(query, key, value)


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels at each position of an image (Ba et al. 2016, arXiv:1607.06450).

    On a CPU, with bfloat16 and the channels-last memory format, this layer takes a quarter of the time of GroupNorm.
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Base class of attention layers. The input is normalised by `norm`, and then projected to query, key and value."""

    def __init__(self, channels: int, heads: int, head_size: int, norm: nn.Module) -> None:
        super().__init__()
        self.heads, self.norm = heads, norm
        self.qkv = nn.Conv2d(channels, 3 * heads * head_size, 1, bias=False)

    def heads_of(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the query, key and value for x (B, channels, H, W), each of shape (B, heads, H * W, head_size)."""
        # With channels last this is a view, (B, positions, 3, heads, head_size).
        qkv = self.qkv(self.norm(x)).permute(0, 2, 3, 1).flatten(1, 2).unflatten(2, (3, self.heads, -1))
        return qkv.permute(2, 0, 3, 1, 4).unbind(0)

    def image_of(self, mixed: Tensor, height: int, width: int) -> Tensor:
        """Reshape `mixed` from (B, heads, height * width, head_size) to (B, heads * head_size, height, width)."""
        return mixed.transpose(1, 2).flatten(2).unflatten(1, (height, width)).permute(0, 3, 1, 2)


class SelfAttention(Attention):
    """Multi-head self-attention over all positions of an image, with a residual connection."""

    def __init__(self, channels: int, heads: int, head_size: int, norm: nn.Module) -> None:
        super().__init__(channels, heads, head_size, norm)
        self.out = nn.Conv2d(heads * head_size, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.out(self.image_of(attend(*self.heads_of(x)), *x.shape[2:]))


# --- The UNet over patches ---


class ModulatedBlock(nn.Module):
    """Residual block of two 3x3 convolutions, each preceded by `ChannelNorm` and SiLU.

    `before` and `after` are the numbers of input and output channels. The time embedding has `time_size` entries. It
    scales and shifts the output of the second norm (Dhariwal & Nichol 2021, arXiv:2105.05233, section 3.1). The second
    convolution is initialised to zero, so a new block returns only the output of its shortcut connection.
    """

    def __init__(self, before: int, after: int, time_size: int) -> None:
        super().__init__()
        self.first_norm = ChannelNorm(before)
        self.first = nn.Conv2d(before, after, 3, padding=1)
        self.modulation = nn.Linear(time_size, 2 * after)
        self.second_norm = ChannelNorm(after)
        self.second = nn.Conv2d(after, after, 3, padding=1)
        self.shortcut = nn.Conv2d(before, after, 1) if before != after else nn.Identity()
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Return features (B, after, H, W) for x (B, before, H, W) and the time embedding `time` (B, time_size)."""
        hidden = self.first(functional.silu(self.first_norm(x)))
        scale, shift = self.modulation(time)[:, :, None, None].chunk(2, dim=1)
        hidden = torch.addcmul(shift, self.second_norm(hidden), 1 + scale)
        return self.shortcut(x) + self.second(functional.silu(hidden))


class PatchUNet(nn.Module):
    """UNet over patches of pixels. The pixels of a patch become channels at the input, and pixels again at the output.

    With patches of 2x2 pixels, no layer runs at the costly full resolution, and every convolution has enough channels
    to run near peak speed. A 3x3 convolution over these patches covers 6x6 pixels.

    Args:
        image_shape: (C, H, W); H and W must be multiples of patch * 2**(len(channels) - 1).
        patch: side of a patch in pixels.
        channels: number of channels per level (resolution), from fine to coarse.
        blocks: number of blocks in each level of the encoder; the decoder has the same numbers.
        attention: for each level, True if self-attention follows every block of the level.
        middle_blocks: number of blocks between the encoder and the decoder, at the coarsest resolution.
        head_size: number of channels per attention head.
        time_size: size of the time embedding.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        patch: int,
        channels: list[int],
        blocks: list[int],
        attention: list[bool],
        middle_blocks: int,
        head_size: int,
        time_size: int,
    ) -> None:
        super().__init__()
        image_channels, height, width = image_shape
        scale = patch * 2 ** (len(channels) - 1)
        if height % scale or width % scale:
            raise ValueError(f"height and width must be divisible by {scale}, got {height}x{width}")
        self.patch = patch
        folded = image_channels * patch**2
        self.time = TimeEmbedding(time_size, time_size)
        self.stem = nn.Conv2d(folded, channels[0], 3, padding=1)

        def attention_at(level: int) -> nn.Module:
            size = channels[level]
            if not attention[level]:
                return nn.Identity()
            return SelfAttention(size, size // head_size, head_size, ChannelNorm(size))

        def block(before: int, level: int) -> nn.ModuleList:
            return nn.ModuleList([ModulatedBlock(before, channels[level], time_size), attention_at(level)])

        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        present, skips = channels[0], []
        for level, count in enumerate(blocks):
            self.down.append(nn.ModuleList())
            for _ in range(count):
                self.down[level].append(block(present, level))
                present = channels[level]
                skips.append(present)
        self.middle = nn.ModuleList(block(present, len(channels) - 1) for _ in range(middle_blocks))
        for level in reversed(range(len(channels))):
            self.up.append(nn.ModuleList())
            for _ in range(blocks[level]):
                self.up[-1].append(block(present + skips.pop(), level))
                present = channels[level]
        self.head_norm = ChannelNorm(present)
        self.head = nn.Conv2d(present, folded, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor, times: Tensor) -> Tensor:
        """Return the output for noisy images (B, C, H, W) at `times` (B,). It has the same shape as the images."""
        time = functional.silu(self.time(times))
        x = self.stem(functional.pixel_unshuffle(images, self.patch).contiguous(memory_format=torch.channels_last))
        skips = []
        for level, blocks in enumerate(self.down):
            x = functional.avg_pool2d(x, 2) if level else x
            for block, attention in blocks:
                x = attention(block(x, time))
                skips.append(x)
        for block, attention in self.middle:
            x = attention(block(x, time))
        for level, blocks in enumerate(self.up):
            x = functional.interpolate(x, scale_factor=2.0, mode="nearest") if level else x
            for block, attention in blocks:
                x = attention(block(torch.cat([x, skips.pop()], dim=1), time))
        x = self.head(functional.silu(self.head_norm(x)))
        return functional.pixel_shuffle(x, self.patch)


# --- The report's UNet ---


class ConvNorm(nn.Module):
    """A 3x3 convolution followed by GroupNorm."""

    def __init__(self, before: int, after: int, groups: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(before, after, 3, padding=1)
        self.norm = nn.GroupNorm(groups, after)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.convolution(x))


class ResidualBlock(nn.Module):
    """Residual block of two 3x3 convolutions with GroupNorm and SiLU. If `time_size` is 0, `forward` ignores `time`."""

    def __init__(self, before: int, after: int, time_size: int, groups: int) -> None:
        super().__init__()
        self.first = ConvNorm(before, after, groups)
        self.second = ConvNorm(after, after, groups)
        self.time = nn.Linear(time_size, after) if time_size else None
        self.shortcut = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Return features (B, after, H, W) for x (B, before, H, W) and the time embedding `time` (B, time_size)."""
        hidden = functional.silu(self.first(x))
        if self.time:
            hidden = hidden + self.time(time)[:, :, None, None]
        return functional.silu(self.second(hidden)) + self.shortcut(x)


class LinearAttention(Attention):
    """Attention whose cost is linear in the number of positions (Shen et al. 2021, arXiv:1812.01243).

    The softmax of each query is taken over the channels of a head, and the softmax of the keys over the positions. The
    product of keys and values is one small matrix per head, and each query of the head is multiplied by this matrix.
    """

    def __init__(self, channels: int, heads: int, head_size: int) -> None:
        super().__init__(channels, heads, head_size, nn.GroupNorm(1, channels))
        self.scale = head_size**-0.5
        self.out = nn.Sequential(nn.Conv2d(heads * head_size, channels, 1), nn.GroupNorm(1, channels))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.heads_of(x)
        context = key.softmax(dim=2).transpose(2, 3) @ value
        mixed = self.image_of((query.softmax(dim=3) * self.scale) @ context, *x.shape[2:])
        return x + self.out(mixed.contiguous(memory_format=torch.channels_last))


class UNet(nn.Module):
    """UNet with two residual blocks and linear attention per level, and with self-attention at the coarsest resolution.

    Args:
        image_shape: (C, H, W); H and W must be multiples of 2**(len(multipliers) - 1).
        stem_width: number of channels of the 7x7 stem convolution.
        width: base number of channels; the time embedding has 4 * width entries.
        multipliers: number of channels divided by `width`, for each level (resolution) from fine to coarse.
        heads: number of attention heads.
        head_size: number of channels per attention head.
        groups: number of channel groups of each GroupNorm layer in the residual blocks.
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
            raise ValueError(f"height and width must be divisible by {scale}, got {sides[0]}x{sides[1]}")
        time_size, channels = 4 * width, [width * m for m in multipliers]
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
        # Created in this order, on which the initial weights depend.
        middle = [block(coarsest, coarsest), SelfAttention(coarsest, heads, head_size, nn.GroupNorm(1, coarsest))]
        self.middle = nn.ModuleList([*middle, block(coarsest, coarsest)])
        for after, before in zip(channels[-2::-1], channels[:0:-1], strict=True):
            attention = LinearAttention(after, heads, head_size)
            grow = nn.ConvTranspose2d(after, after, 4, stride=2, padding=1)
            self.up.append(nn.ModuleList([block(2 * before, after), block(after, after), attention, grow]))
        self.last = ResidualBlock(channels[0], width, 0, groups)
        self.head = nn.Conv2d(width, image_channels, 1)

    def forward(self, images: Tensor, times: Tensor) -> Tensor:
        """Return the output for noisy images (B, C, H, W) at `times` (B,). It has the same shape as the images."""
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


def denoising_network(name: str, **sizes: object) -> nn.Module:
    """Return a `UNet` (if `name` is "unet") or a `PatchUNet` (if it is "patch_unet") with the arguments `sizes`."""
    return {"unet": UNet, "patch_unet": PatchUNet}[name](**sizes)
