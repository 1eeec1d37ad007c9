"""Schema of the section `classifier` of params.yaml: the judge."""

from typing import Annotated

from pydantic import Field

from triptych.core.schema import Count, Section
from triptych.training.params import Training


class ResNetParams(Section):
    """Sizes of the judge's network; see `triptych.nn.backbones.SmallResNet`."""

    width: Count
    blocks: Annotated[list[Count], Field(min_length=1)]
    stem_stride: Annotated[int, Field(ge=1, le=2)]


class ClassifierParams(Section):
    """The judge's network, mixup and training; see `triptych.judge.model`."""

    network: ResNetParams
    mixup: Annotated[float, Field(ge=0)]
    training: Training
