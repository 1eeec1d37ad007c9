"""Schema of the `vae` and `sampling.vae` sections in params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from triptych.core.schema import Count, Positive, Section
from triptych.training.params import SnapshotTraining


class VAENetwork(Section):
    """Sizes of the VAE's network. See `triptych.vae.model.VAE`."""

    channels: Annotated[list[Count], Field(min_length=1)]
    latents: Count

    @property
    def multiple(self) -> int:
        """Number by which the height and width of images must be divisible."""
        return 2 ** len(self.channels)


class VAEParams(Section):
    network: VAENetwork
    likelihood_sigma: Positive
    training: SnapshotTraining
    seeds: Count = 1  # number of trained models; samples and measures use the first


class FittedPrior(Section):
    """Settings of the prior that is fitted after training, a mixture of Gaussians. See `triptych.vae.prior`."""

    components: Count
    covariance: Literal["full", "tied", "diag"]
    draws: Count
    iterations: Count


class VAESampling(Section):
    """Settings of sampling: samples per prior, the fitted prior, and paths through the latent space."""

    samples: Annotated[int, Field(ge=2)]
    fitted_prior: FittedPrior
    interpolation_pairs: Count
    interpolation_steps: Annotated[int, Field(ge=3)]


class SamplingParams(Section, extra="ignore"):
    """Keys of the `sampling` section that are used to sample from the VAE."""

    batch_size: Count
    vae: VAESampling
