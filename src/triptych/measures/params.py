"""Schema of the section `evaluation` of params.yaml: settings of measures and confidence intervals."""

from typing import Annotated, Literal

from pydantic import Field

from triptych.core.schema import Count, InsideUnit, Positive, Section


class VAEEvaluation(Section):
    """Settings of the VAE's likelihood bounds: number of test images, and importance samples per image."""

    likelihood_images: Count
    importance_samples: Count


class BoundEvaluation(Section):
    """Settings of the DDPM's variational bound: diffusion steps, test images, and random times per image."""

    steps: Annotated[int, Field(ge=2)]
    images: Count
    times: Count


class DDPMEvaluation(Section):
    bound: BoundEvaluation


class KNNParams(Section):
    """Settings of weighted k-nearest-neighbour classification (Wu et al. 2018). `features` names the layer to use."""

    neighbours: Count
    temperature: Positive
    features: Literal["backbone", "projector"]


class CollapseThresholds(Section):
    """Thresholds for embeddings. A smaller standard deviation or effective rank indicates collapse."""

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
