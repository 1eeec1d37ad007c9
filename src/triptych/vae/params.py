"""Schema of the sections `vae` and `sampling.vae` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from triptych.core.schema import Count, Positive, Section
from triptych.training.params import SnapshotTraining


class VAENetwork(Section):
    """Sizes of the VAE's network; see `triptych.vae.model`."""

    channels: Annotated[list[Count], Field(min_length=1)]
    latents: Count

    @property
    def multiple(self) -> int:
        """Divisor of the height and width of images."""
        return 2 ** len(self.channels)


class VAEParams(Section):
    network: VAENetwork
    likelihood_sigma: Positive
    training: SnapshotTraining
    seeds: Count = 1  # number of trained models; samples and measures use the first


class FittedPrior(Section):
    """Settings of the fitted mixture of Gaussians; see `triptych.vae.prior`."""

    components: Count
    covariance: Literal["full", "tied", "diag"]
    draws: Count
    iterations: Count


class VAESampling(Section):
    """Number of samples from each prior, and size of the paths through the latent space."""

    samples: Annotated[int, Field(ge=2)]
    fitted_prior: FittedPrior
    interpolation_pairs: Count
    interpolation_steps: Annotated[int, Field(ge=3)]


class SamplingParams(Section, extra="ignore"):
    """Keys of the section `sampling` that sampling from the VAE uses."""

    batch_size: Count
    vae: VAESampling
