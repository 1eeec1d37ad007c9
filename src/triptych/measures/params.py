"""The `evaluation` section of params.yaml: settings of measures and of their intervals."""

from typing import Annotated, Literal

from pydantic import Field

from triptych.core.schema import Count, InsideUnit, Positive, Section


class VAEEvaluation(Section):
    """The VAE's bounds in bits per dimension."""

    likelihood_images: Count
    importance_samples: Count


class BoundEvaluation(Section):
    """The DDPM's variational bound: length of the chain, number of test images, and terms drawn per image."""

    steps: Annotated[int, Field(ge=2)]
    images: Count
    times: Count


class DDPMEvaluation(Section):
    bound: BoundEvaluation


class KNNParams(Section):
    """Weighted nearest-neighbour classification (Wu et al. 2018) of all test images."""

    neighbours: Count
    temperature: Positive
    features: Literal["backbone", "projector"]


class CollapseThresholds(Section):
    """Values below which embeddings count as collapsed."""

    embedding_std: Positive
    effective_rank: Positive


class SSLEvaluation(Section):
    knn: KNNParams
    probe_penalty: Positive
    pairs: Annotated[int, Field(ge=2)]
    collapse: CollapseThresholds


class EvaluationParams(Section):
    batch_size: Count
    bootstrap: Annotated[int, Field(ge=10)]
    confidence_level: InsideUnit
    recognition_threshold: InsideUnit
    manifold_neighbours: Count
    manifold_images: Count
    vae: VAEEvaluation
    ddpm: DDPMEvaluation
    ssl: SSLEvaluation
