"""Schema of the sections `vae` and `sampling.vae` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from triptych.core.schema import Count, Positive, Section
from triptych.training.params import SnapshotTraining


class VAENetwork(Section):
    """Network sizes of the VAE: channels of each encoder convolution, and dimension of the latent vector."""

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
    """Settings of the prior that is fitted after training: a mixture of `components` Gaussians.

    Expectation maximisation runs for at most `iterations` iterations on `draws` samples from q(z|x) per training image.
    `covariance` is "full" (one matrix per Gaussian), "tied" (one for all) or "diag" (diagonal matrices).
    """

    components: Count
    covariance: Literal["full", "tied", "diag"]
    draws: Count
    iterations: Count


class VAESampling(Section):
    """Settings for sampling from the VAE: samples per prior, fitted prior, interpolated pairs, and images per pair."""

    samples: Annotated[int, Field(ge=2)]
    fitted_prior: FittedPrior
    interpolation_pairs: Count
    interpolation_steps: Annotated[int, Field(ge=3)]


class SamplingParams(Section, extra="ignore"):
    """Keys of the section `sampling` of params.yaml that sampling from the VAE uses. Other keys are ignored."""

    batch_size: Count
    vae: VAESampling
