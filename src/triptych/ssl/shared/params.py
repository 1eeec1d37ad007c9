"""The section of params.yaml for the studies that compare views: SimSiam and its ablations."""

import difflib
from typing import Annotated, Literal

from pydantic import Field, model_validator

from triptych.core.errors import InputError
from triptych.core.schema import Section
from triptych.ssl.shared.view_params import ViewParams
from triptych.core.fields import Positive
from triptych.training.params import Training

Count = Annotated[int, Field(ge=1)]


class SmallResNetParams(Section):
    """Sizes of the small encoder."""

    name: Literal["small_resnet"]
    width: Count
    blocks: Annotated[list[Count], Field(min_length=1)]
    stem_stride: Annotated[int, Field(ge=1, le=2)]
    standardise: bool


class ResNet18Params(Section):
    """torchvision's ResNet-18 with the stem of 32-pixel images."""

    name: Literal["resnet18"]


class KNNParams(Section):
    """Weighted nearest-neighbour classification (Wu et al. 2018) of all test images, during training and at its end."""

    every_epochs: Count
    neighbours: Count
    temperature: Positive
    features: Literal["backbone", "projector"]


class CollapseThresholds(Section):
    """Below which an embedding counts as collapsed."""

    embedding_std: Positive
    effective_rank: Positive


class SSLEvaluation(Section):
    """How trained encoders are measured, beside the nearest neighbours."""

    probe_penalty: Positive
    pairs: Annotated[int, Field(ge=2)]
    collapse: CollapseThresholds


class SharedParams(Section):
    """What all variants have in common."""

    seeds: Count
    backbone: Annotated[SmallResNetParams | ResNet18Params, Field(discriminator="name")]
    views: ViewParams
    knn: KNNParams


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
    evaluation: SSLEvaluation
    methods: Methods
    variants: dict[Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")], SimSiamVariant]

    @model_validator(mode="after")
    def _has_a_baseline(self) -> "SSLParams":
        if "simsiam" not in self.variants:
            raise ValueError("variants must hold simsiam, which the others are compared with")
        return self

    def variant(self, name: str) -> SimSiamVariant:
        """The variant of a name.

        Raises:
            InputError: there is none; the message names the nearest.
        """
        if name not in self.variants:
            near = difflib.get_close_matches(name, self.variants, n=1, cutoff=0)[0]
            raise InputError(
                f"params.yaml: 'ssl.variants' has no '{name}'; did you mean '{near}'? "
                f"(allowed: {', '.join(self.variants)})"
            )
        return self.variants[name]

    def method(self, name: str) -> SimSiamMethod:
        """The recipe of the method that the variant of a name belongs to."""
        return getattr(self.methods, self.variant(name).method)
