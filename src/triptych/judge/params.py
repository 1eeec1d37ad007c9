"""Schema of the section `classifier` of params.yaml, for the judge (the reference classifier)."""

from typing import Annotated

from pydantic import Field

from triptych.core.schema import Count, Section
from triptych.training.params import Training


class ResNetParams(Section):
    """Sizes of the network of the judge (the reference classifier); see `triptych.nn.backbones.SmallResNet`."""

    width: Count
    blocks: Annotated[list[Count], Field(min_length=1)]
    stem_stride: Annotated[int, Field(ge=1, le=2)]


class ClassifierParams(Section):
    """Network, mixup and training of the judge (the reference classifier); see `triptych.judge.model`."""

    network: ResNetParams
    mixup: Annotated[float, Field(ge=0)]
    training: Training
