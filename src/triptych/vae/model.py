"""The convolutional network of the VAE."""

import torch
from torch import Tensor, nn

# exp(20) and exp(-30) still fit in float32. Without the limits, one bad step would make the KL infinite.
LOG_VARIANCE_RANGE = (-30.0, 20.0)


class VAE(nn.Module):
    """VAE with strided 4x4 convolutions in the encoder, and with upsampling and 3x3 convolutions in the decoder.

    Args:
        image_shape: shape (C, H, W) of an image. H and W must be divisible by 2**len(channels).
        channels: number of output channels of each convolution of the encoder. The decoder uses the reverse order.
        latents: number of dimensions of z.
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
            levels += [nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, padding=1), nn.LeakyReLU(0.2)]
        self.decoder = nn.Sequential(*levels[:-1])  # no activation after the last convolution: pixels take any value

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the log-variance of q(z|x) for images x in [-1, 1], as float32 tensors (B, latents)."""
        hidden = self.encoder(images)
        return self.mu(hidden).float(), self.log_var(hidden).float().clamp(*LOG_VARIANCE_RANGE)

    def decode(self, z: Tensor) -> Tensor:
        """Return the mean of p(x|z) for each row of z (B, latents), as images (B, C, H, W)."""
        hidden = self.expand(z).unflatten(1, self.coarse_shape)
        return self.decoder(hidden.contiguous(memory_format=torch.channels_last))
