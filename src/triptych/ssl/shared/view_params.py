"""How an image is altered at random into a view of itself: shared by all methods that compare views."""

from typing import Annotated

from pydantic import AfterValidator, Field

from triptych.core.fields import Positive, Probability
from triptych.core.schema import Section

Strength = Annotated[float, Field(ge=0)]
AreaShare = Annotated[float, Field(gt=0, le=1)]


def _rising(pair: list[float]) -> list[float]:
    if pair[0] > pair[1]:
        raise ValueError("must be [low, high] with low <= high")
    return pair


Pair = (Field(min_length=2, max_length=2), AfterValidator(_rising))


class ViewParams(Section):
    """The augmentation, in the order in which its operations follow each other.

    Attributes:
        crop_scale: [low, high] share of the image's area that a crop covers.
        crop_ratio: [low, high] width over height of a crop, before rounding to pixels.
        flip: probability that left and right are exchanged.
        jitter: probability that brightness, contrast, saturation and hue change.
        brightness, contrast, saturation: x draws the factor from [max(0, 1 - x), 1 + x]; 0 leaves it alone.
        hue: x draws the rotation from [-x, x] turns of the colour circle.
        grey: probability that an image loses its colour.
        blur: probability that an image is blurred.
        blur_sigma: [low, high] standard deviation of the blur in pixels.
        solarize: probability that the brighter half of the values is inverted.
        invert: probability that all values are inverted.
    """

    crop_scale: Annotated[list[AreaShare], *Pair]
    crop_ratio: Annotated[list[Positive], *Pair]
    flip: Probability
    jitter: Probability
    brightness: Strength
    contrast: Strength
    saturation: Strength
    hue: Annotated[float, Field(ge=0, le=0.5)]
    grey: Probability
    blur: Probability
    blur_sigma: Annotated[list[Positive], *Pair]
    solarize: Probability
    invert: Probability
