"""The `evaluation` section of params.yaml: how much each measure uses, and how its interval is made."""

from typing import Annotated, Literal

from pydantic import Field

from triptych.core.schema import Count, InsideUnit, Positive, Section


class VAEEvaluation(Section):
    """The bounds in bits per dimension."""

    likelihood_images: Count
    importance_samples: Count


class BoundEvaluation(Section):
    """The variational bound: of a chain of `steps`, on how many test images, with how many drawn terms for each."""

    steps: Annotated[int, Field(ge=2)]
    images: Count
    times: Count


class DDPMEvaluation(Section):
    """The variational bound of the diffusion model."""

    bound: BoundEvaluation


class KNNParams(Section):
    """Weighted nearest-neighbour classification (Wu et al. 2018) of all test images."""

    neighbours: Count
    temperature: Positive
    features: Literal["backbone", "projector"]


class CollapseThresholds(Section):
    """Below which an embedding counts as collapsed."""

    embedding_std: Positive
    effective_rank: Positive


class SSLEvaluation(Section):
    """How encoders are measured."""

    knn: KNNParams
    probe_penalty: Positive
    pairs: Annotated[int, Field(ge=2)]
    collapse: CollapseThresholds


class EvaluationParams(Section):
    """Settings of every evaluate stage."""

    batch_size: Count
    bootstrap: Annotated[int, Field(ge=10)]
    confidence_level: InsideUnit
    recognition_threshold: InsideUnit
    manifold_neighbours: Count
    manifold_images: Count
    vae: VAEEvaluation
    ddpm: DDPMEvaluation
    ssl: SSLEvaluation
