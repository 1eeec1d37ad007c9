"""The VAE study's section of params.yaml."""

from typing import Annotated

from pydantic import Field

from triptych.params.base import Section
from triptych.params.training import Positive, SnapshotTraining

Count = Annotated[int, Field(ge=1)]


class VAENetwork(Section):
    """Sizes of the encoder and, mirrored, the decoder."""

    channels: Annotated[list[Count], Field(min_length=1)]
    latents: Count


class VAEEvaluation(Section):
    """How much of the test set each measurement uses."""

    likelihood_images: Count
    importance_samples: Count
    samples: Count
    interpolation_pairs: Count
    interpolation_steps: Annotated[int, Field(ge=3)]


class VAEParams(Section):
    """Everything of the VAE study."""

    network: VAENetwork
    likelihood_sigma: Positive
    training: SnapshotTraining
    evaluation: VAEEvaluation
