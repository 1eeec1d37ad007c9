"""A UNet that works on patches of pixels: the fast diffusion network."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from triptych.ddpm.layers import ChannelNorm, SelfAttention, TimeEmbedding, upsample


class ModulatedBlock(nn.Module):
    """Two 3x3 convolutions, each behind a norm and SiLU; the time scales and shifts the second norm's output.

    Dhariwal & Nichol 2021 (arXiv:2105.05233), section 3.1, with another norm: docs/ddpm_recipes.md compares them. The
    second convolution starts at zero, so that a fresh block is its shortcut.
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
        """(B, before, H, W) and (B, time_size) -> (B, after, H, W)."""
        hidden = self.first(functional.silu(self.first_norm(x)))
        scale, shift = self.modulation(time)[:, :, None, None].chunk(2, dim=1)
        hidden = torch.addcmul(shift, self.second_norm(hidden), 1 + scale)
        return self.shortcut(x) + self.second(functional.silu(hidden))


class PatchUNet(nn.Module):
    """Pixels are folded into channels (`patch` x `patch`), a small UNet works on the patches, and they are unfolded.

    At patch 2 the costly finest resolution is gone, and every convolution has enough channels to run near the
    machine's peak. A 3x3 convolution over patches still sees 6x6 pixels.

    Args:
        image_shape: (C, H, W); H and W are multiples of patch * 2**(levels - 1).
        patch: pixels a side of a patch.
        channels: channels of each level, from fine to coarse.
        blocks: blocks of each level, on the way down; as many on the way up.
        attention: whether each level attends over all its positions.
        middle_blocks: blocks at the coarsest resolution between the ways down and up.
        head_size: channels of an attention head.
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

        def attend(level: int) -> nn.Module:
            size = channels[level]
            if not attention[level]:
                return nn.Identity()
            return SelfAttention(size, size // head_size, head_size, ChannelNorm(size))

        def block(before: int, level: int) -> nn.ModuleList:
            return nn.ModuleList([ModulatedBlock(before, channels[level], time_size), attend(level)])

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
        """Noisy images (B, C, H, W) and their times (B,) -> the prediction, (B, C, H, W)."""
        time = functional.silu(self.time(times))
        x = self.stem(functional.pixel_unshuffle(images, self.patch).contiguous(memory_format=torch.channels_last))
        skips = []
        for level, blocks in enumerate(self.down):
            x = functional.avg_pool2d(x, 2) if level else x
            for block, attend in blocks:
                x = attend(block(x, time))
                skips.append(x)
        for block, attend in self.middle:
            x = attend(block(x, time))
        for level, blocks in enumerate(self.up):
            x = upsample(x) if level else x
            for block, attend in blocks:
                x = attend(block(torch.cat([x, skips.pop()], dim=1), time))
        x = self.head(functional.silu(self.head_norm(x)))
        return functional.pixel_shuffle(x, self.patch)
