"""The VAE in params.yaml: its section `vae`, and `sampling.vae`."""

from typing import Annotated, Literal

from pydantic import Field

from triptych.core.schema import Count, Positive, Section
from triptych.training.params import SnapshotTraining


class VAENetwork(Section):
    """Sizes of the encoder and, mirrored, the decoder."""

    channels: Annotated[list[Count], Field(min_length=1)]
    latents: Count

    @property
    def multiple(self) -> int:
        """Divisor that the sides of images must have."""
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


class FittedPrior(Section):
    """The mixture of Gaussians that is fitted to the aggregate posterior; see `triptych.vae.prior`."""

    components: Count
    covariance: Literal["full", "tied", "diag"]
    draws: Count
    iterations: Count


class VAESampling(Section):
    """Draws from both priors, and paths through the latent space."""

    samples: Annotated[int, Field(ge=2)]
    fitted_prior: FittedPrior
    interpolation_pairs: Count
    interpolation_steps: Annotated[int, Field(ge=3)]


class SamplingParams(Section, extra="ignore"):
    """The keys of section `sampling` that concern the VAE."""

    batch_size: Count
    vae: VAESampling
