"""The judge's section of params.yaml."""

from typing import Annotated

from pydantic import Field

from triptych.core.schema import Section
from triptych.training.params import Training


class ResNetParams(Section):
    """Sizes of the small ResNet."""

    width: Annotated[int, Field(ge=1)]
    blocks: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    stem_stride: Annotated[int, Field(ge=1, le=2)]


class ClassifierParams(Section):
    """The judge: a supervised network whose features and predictions evaluate everything generated."""

    network: ResNetParams
    mixup: Annotated[float, Field(ge=0)]
    training: Training
