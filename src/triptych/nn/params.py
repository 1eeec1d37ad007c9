"""Schema of the `backbone` sections in params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from triptych.core.schema import Count, Section


class SmallResNetParams(Section):
    name: Literal["small_resnet"]
    width: Count
    blocks: Annotated[list[Count], Field(min_length=1)]
    stem_stride: Annotated[int, Field(ge=1, le=2)]
    standardise: bool


class ResNet18Params(Section):
    """Section that selects `ResNet18`, a network without settings."""

    name: Literal["resnet18"]


BackboneParams = Annotated[SmallResNetParams | ResNet18Params, Field(discriminator="name")]
