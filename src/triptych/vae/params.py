"""Schema of the sections `vae` and `sampling.vae` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from triptych.core.schema import Count, Positive, Section
from triptych.training.params import SnapshotTraining


class VAENetwork(Section):
    """Sizes of the VAE's network. `triptych.vae.model.VAE` explains the fields."""

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
    """Settings of the mixture of Gaussians that is fitted after training to `draws` samples from q(z|x) per image."""

    components: Count
    covariance: Literal["full", "tied", "diag"]
    draws: Count
    iterations: Count


class VAESampling(Section):
    """Settings for sampling: number of samples per prior, the fitted prior, and interpolation in the latent space."""

    samples: Annotated[int, Field(ge=2)]
    fitted_prior: FittedPrior
    interpolation_pairs: Count
    interpolation_steps: Annotated[int, Field(ge=3)]


class SamplingParams(Section, extra="ignore"):
    """Keys of the section `sampling` that are used to sample from the VAE."""

    batch_size: Count
    vae: VAESampling
