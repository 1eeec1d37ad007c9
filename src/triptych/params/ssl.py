"""The section of params.yaml for the studies that compare views: SimSiam and its ablations."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from triptych.params.base import Section
from triptych.params.training import Positive, Training
from triptych.params.views import ViewParams

Count = Annotated[int, Field(ge=1)]


class SmallResNetParams(Section):
    """Sizes of the small encoder."""

    name: Literal["small_resnet"]
    width: Count
    blocks: Annotated[list[Count], Field(min_length=1)]
    stem_stride: Annotated[int, Field(ge=1, le=2)]


class ResNet18Params(Section):
    """torchvision's ResNet-18 with the stem of 32-pixel images."""

    name: Literal["resnet18"]


class NeighbourVote(Section):
    """Weighted nearest-neighbour classification (Wu et al. 2018)."""

    neighbours: Count
    temperature: Positive


class CollapseThresholds(Section):
    """Below which an embedding counts as collapsed."""

    embedding_std: Positive
    effective_rank: Positive


class SSLEvaluation(Section):
    """How encoders are measured."""

    every_epochs: Count
    knn: NeighbourVote
    features: Literal["backbone", "projector"]
    probe_penalty: Positive
    pairs: Annotated[int, Field(ge=2)]
    collapse: CollapseThresholds


class SharedParams(Section):
    """What all variants have in common."""

    seeds: Count
    backbone: Annotated[SmallResNetParams | ResNet18Params, Field(discriminator="name")]
    views: ViewParams
    evaluation: SSLEvaluation


class SimSiamMethod(Section):
    """The recipe that SimSiam and its ablations share."""

    projector_hidden: list[Count]
    predictor_hidden: Count
    training: Training


class Methods(Section):
    """A recipe for each method."""

    simsiam: SimSiamMethod


class SimSiamVariant(Section):
    """SimSiam, or an ablation of it."""

    method: Literal["simsiam"]
    projector_dim: Count
    predictor: Literal["mlp", "none", "fixed_random"]
    stop_gradient: bool
    symmetric: bool


class SSLParams(Section):
    """Everything of the studies of views."""

    shared: SharedParams
    methods: Methods
    variants: dict[Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")], SimSiamVariant]

    @model_validator(mode="after")
    def _has_a_baseline(self) -> "SSLParams":
        if "simsiam" not in self.variants:
            raise ValueError("variants must hold simsiam, which the others are compared with")
        return self
