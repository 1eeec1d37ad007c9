"""What all evaluations share: intervals, and when the judge counts an image as recognised."""

from typing import Annotated

from pydantic import Field

from triptych.params.base import Section

InsideUnit = Annotated[float, Field(gt=0, lt=1)]


class EvaluationParams(Section):
    """Settings of every evaluate stage."""

    batch_size: Annotated[int, Field(ge=1)]
    bootstrap: Annotated[int, Field(ge=10)]
    confidence_level: InsideUnit
    recognition_threshold: InsideUnit
