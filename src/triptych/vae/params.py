"""The `vae` section of params.yaml: what is trained, and how."""

from typing import Annotated

from pydantic import Field

from triptych.core.schema import Count, Positive, Section
from triptych.training.params import SnapshotTraining


class VAENetwork(Section):
    """Sizes of the encoder and, mirrored, the decoder."""

    channels: Annotated[list[Count], Field(min_length=1)]
    latents: Count

    @property
    def multiple(self) -> int:
        """What the sides of images must be multiples of."""
        return 2 ** len(self.channels)


class VAEParams(Section):
    """The VAE and its training.

    Attributes:
        seeds: number of trained models. Samples and measures use the first.
    """

    network: VAENetwork
    likelihood_sigma: Positive
    training: SnapshotTraining
    seeds: Count = 1
