"""How an image is altered at random into a view of itself: shared by all methods that compare views."""

from typing import Annotated

from pydantic import AfterValidator, Field, create_model

from triptych.core.fields import Positive, Probability
from triptych.core.overlay import overlaid
from triptych.core.schema import Section

Strength = Annotated[float, Field(ge=0)]
AreaShare = Annotated[float, Field(gt=0, le=1)]


def _rising(pair: list[float]) -> list[float]:
    if pair[0] > pair[1]:
        raise ValueError("must be [low, high] with low <= high")
    return pair


Pair = (Field(min_length=2, max_length=2), AfterValidator(_rising))


class HeavyParams(Section):
    """RandAugment (Cubuk et al. 2020, arXiv:1909.13719); `heavy.py` has its operations.

    Attributes:
        operations: N, how many follow each other; 0 leaves images alone.
        magnitude: M, how strong each is: from 0 to 10, the strongest.
    """

    operations: Annotated[int, Field(ge=0)]
    magnitude: Annotated[float, Field(ge=0, le=10)]


class ViewParams(Section):
    """The augmentation, in the order in which its operations follow each other.

    Attributes:
        crop_scale: [low, high] share of the image's area that a crop covers.
        crop_ratio: [low, high] width over height of a crop, before rounding to pixels.
        flip: probability that left and right are exchanged.
        rotation: x turns an image by an angle from [-x, x] degrees.
        jitter: probability that brightness, contrast, saturation and hue change.
        brightness, contrast, saturation: x draws the factor from [max(0, 1 - x), 1 + x]; 0 leaves it alone.
        hue: x draws the rotation from [-x, x] turns of the colour circle.
        grey: probability that an image loses its colour.
        blur: probability that an image is blurred.
        blur_sigma: [low, high] standard deviation of the blur in pixels.
        solarize: probability that the brighter half of the values is inverted.
        invert: probability that all values are inverted.
        heavy: RandAugment of the view, which makes it a heavy one.
    """

    crop_scale: Annotated[list[AreaShare], *Pair]
    crop_ratio: Annotated[list[Positive], *Pair]
    flip: Probability
    rotation: Annotated[float, Field(ge=0, le=180)]
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
    heavy: HeavyParams


def changes_of(section: type[Section]) -> type[Section]:
    """The section with every key optional at any depth, and each value checked as there."""
    fields = {}
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            kind = changes_of(kind)
        if field.metadata:
            kind = Annotated[kind, *field.metadata]
        fields[name] = (kind | None, None)
    return create_model(f"{section.__name__}Changes", __base__=Section, **fields)


class ViewChanges(changes_of(ViewParams)):
    """What differs from an augmentation: any of the keys of `ViewParams`. A key that is left out reads None."""

    def applied(self, views: ViewParams) -> ViewParams:
        """The augmentation with the changes in their places."""
        return ViewParams.model_validate(overlaid(views.model_dump(), self.model_dump(exclude_none=True)))
