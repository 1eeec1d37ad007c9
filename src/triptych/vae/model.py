"""Convolutional encoder and decoder of the VAE."""

import torch
from torch import Tensor, nn
from torch.nn import functional

# exp(20) and exp(-30) still fit in float32. Without the limits, one bad step would make the KL infinite.
LOG_VARIANCE_RANGE = (-30.0, 20.0)


class UpsampledConv(nn.Conv2d):
    """A 3x3 convolution of the input after nearest-neighbour upsampling by 2, which doubles the height and width.

    In float32, both steps are one transposed 4x4 convolution of stride 2, whose weights are sums of the 3x3 weights. It
    takes four fifths of the time of a training step, and results are equal up to rounding. Under autocast, the sums
    would be rounded, and nothing is gained.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_autocast_enabled(x.device.type):
            return super().forward(functional.interpolate(x, scale_factor=2))
        flipped = self.weight.flip(2, 3).transpose(0, 1)
        shifts = ((0, 1, 0, 1), (1, 0, 0, 1), (0, 1, 1, 0), (1, 0, 1, 0))
        summed = torch.stack([functional.pad(flipped, shift) for shift in shifts]).sum(dim=0)
        return functional.conv_transpose2d(x, summed, self.bias, stride=2, padding=1)


class VAE(nn.Module):
    """Convolutional VAE. The encoder uses strided 4x4 convolutions; the decoder uses upsampling and 3x3 convolutions.

    Args:
        image_shape: shape (C, H, W) of an image. H and W must be divisible by 2**len(channels).
        channels: number of output channels of each encoder convolution. The decoder uses the reverse order.
        latents: dimension of the latent vector z.
    """

    def __init__(self, image_shape: tuple[int, int, int], channels: list[int], latents: int) -> None:
        super().__init__()
        image_channels, height, width = image_shape
        scale = 2 ** len(channels)
        if height % scale or width % scale:
            raise ValueError(f"height and width must be divisible by {scale} (2**levels), got {height}x{width}")
        self.coarse_shape = (channels[-1], height // scale, width // scale)
        coarse_size = channels[-1] * (height // scale) * (width // scale)

        levels: list[nn.Module] = []
        for before, after in zip([image_channels, *channels], channels, strict=False):
            levels += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(0.2), nn.BatchNorm2d(after)]
        self.encoder = nn.Sequential(*levels, nn.Flatten())
        self.mu = nn.Linear(coarse_size, latents)
        self.log_var = nn.Linear(coarse_size, latents)

        outputs = [*channels[-2::-1], image_channels]
        self.expand = nn.Sequential(nn.Linear(latents, coarse_size), nn.ReLU())
        levels = []
        for before, after in zip(channels[::-1], outputs, strict=True):
            levels += [UpsampledConv(before, after), nn.LeakyReLU(0.2)]
        self.decoder = nn.Sequential(*levels[:-1])  # no activation after the last convolution: pixels take any value

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and log-variance of q(z|x) for images x (B, C, H, W) in [-1, 1], as float32 (B, latents)."""
        hidden = self.encoder(images)
        return self.mu(hidden).float(), self.log_var(hidden).float().clamp(*LOG_VARIANCE_RANGE)

    def decode(self, z: Tensor) -> Tensor:
        """Return the mean of p(x|z), a batch of images (B, C, H, W), for latent vectors z (B, latents)."""
        hidden = self.expand(z).unflatten(1, self.coarse_shape)
        return self.decoder(hidden.contiguous(memory_format=torch.channels_last))
