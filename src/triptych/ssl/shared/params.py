"""The `ssl` section of params.yaml: what all variants share, each method's recipe, and what each variant changes."""

from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, create_model, model_validator

from triptych.core.schema import Count, Positive, Probability, Section, overlaid
from triptych.nn.params import BackboneParams
from triptych.training.params import Training

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


class SharedRecipe(Section):
    """What all variants have in common, unless their method or they themselves say otherwise."""

    seeds: Count
    snapshot_every: Count
    backbone: BackboneParams
    views: ViewParams


class SSLTraining(Training):
    """A training run whose networks hold batch norm, which needs at least two images."""

    batch_size: Annotated[int, Field(ge=2)]


class SSLRecipe(SharedRecipe):
    """The whole recipe of a variant; each method adds fields of its own.

    Attributes:
        projector_hidden, projector_dim: sizes of the projector, behind the encoder.
        training: how it is trained.
    """

    projector_hidden: list[Count]
    projector_dim: Count
    training: SSLTraining

    @property
    def snapshot_epochs(self) -> tuple[int, ...]:
        """Epochs whose weights are kept, to measure the course of the training: the first, every few, the last."""
        epochs = self.training.epochs
        return tuple(sorted({1, *range(self.snapshot_every, epochs + 1, self.snapshot_every), epochs}))

    def network_sizes(self, in_channels: int, last_norm: bool, predictor_hidden: int | None = None) -> dict:
        """The keyword arguments of the method's `SiameseNetwork`.

        Args:
            in_channels: channels of the images.
            last_norm: whether the projector's output is normalised, see `Projector`.
            predictor_hidden: size of the predictor's hidden layer; None for no predictor.
        """
        return {
            "in_channels": in_channels,
            "backbone": self.backbone.model_dump(),
            "projector": {"hidden": self.projector_hidden, "dim": self.projector_dim, "last_norm": last_norm},
            "predictor": None if predictor_hidden is None else {"hidden": predictor_hidden},
        }


class Variant(Section):
    """The method of a variant. Every other key overrides that of the method's recipe, whose schema checks it."""

    model_config = ConfigDict(extra="allow")

    method: str

    @property
    def overrides(self) -> dict:
        """What differs from the method's recipe, as it stands in params.yaml."""
        return dict(self.model_extra)


class SSLParams(Section):
    """The layers of the recipes. `recipes.recipe` makes the recipe of a variant of them."""

    shared: SharedRecipe
    methods: dict[str, dict]
    variants: dict[Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")], Variant]

    @model_validator(mode="after")
    def _has_a_baseline(self) -> "SSLParams":
        if "simsiam" not in self.variants:
            raise ValueError("variants must hold simsiam, which the others are compared with")
        return self
