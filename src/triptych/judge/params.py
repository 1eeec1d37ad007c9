"""Schema of the section `classifier` of params.yaml, which configures the judge (the reference classifier)."""

from typing import Annotated

from pydantic import Field

from triptych.core.schema import Count, Section
from triptych.training.params import Training


class ResNetParams(Section):
    """Settings of the reference classifier's network. `triptych.nn.backbones.SmallResNet` explains the fields."""

    width: Count
    blocks: Annotated[list[Count], Field(min_length=1)]
    stem_stride: Annotated[int, Field(ge=1, le=2)]


class ClassifierParams(Section):
    """Settings of the reference classifier. `mixup` is the largest weight of the second image in a mixture of two."""

    network: ResNetParams
    mixup: Annotated[float, Field(ge=0)]
    training: Training
