"""Schema of the section `ssl` of params.yaml: shared settings, and settings of each method and of each variant."""

from collections.abc import Mapping
from functools import reduce
from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from triptych.core.schema import Bounds, Count, Positive, Probability, Section, overlaid
from triptych.nn.params import BackboneParams
from triptych.training.params import Training

Strength = Annotated[float, Field(ge=0)]
AreaShare = Annotated[float, Field(gt=0, le=1)]


class HeavyParams(Section):
    """Settings of RandAugment (Cubuk et al. 2020, arXiv:1909.13719)."""

    operations: Annotated[int, Field(ge=0)]  # N, the number applied to each image; 0 leaves images unchanged
    magnitude: Annotated[float, Field(ge=0, le=10)]  # M, strength of each operation


class ViewParams(Section):
    """Settings of the augmentation, in the order in which operations are applied. Probabilities are per image."""

    crop_scale: Annotated[list[AreaShare], *Bounds]  # share of the image's area
    crop_ratio: Annotated[list[Positive], *Bounds]  # width over height, before rounding to pixels
    flip: Probability  # horizontal
    rotation: Annotated[float, Field(ge=0, le=180)]  # x draws an angle from [-x, x] degrees
    jitter: Probability  # of changing brightness, contrast, saturation and hue
    brightness: Strength  # x draws the factor from [max(0, 1 - x), 1 + x]; so do contrast and saturation
    contrast: Strength
    saturation: Strength
    hue: Annotated[float, Field(ge=0, le=0.5)]  # x draws the rotation from [-x, x] turns of the colour circle
    grey: Probability
    blur: Probability
    blur_sigma: Annotated[list[Positive], *Bounds]  # standard deviation in pixels
    solarize: Probability  # inverts the brighter half of the values
    invert: Probability
    heavy: HeavyParams


class SharedRecipe(Section):
    """Settings that apply to all variants, unless the section of a method or a variant overrides them."""

    seeds: Count
    snapshot_every: Count
    backbone: BackboneParams
    views: ViewParams


class SSLTraining(Training):
    """Training settings with a batch size of at least 2, which batch norm requires."""

    batch_size: Annotated[int, Field(ge=2)]


class SSLRecipe(SharedRecipe):
    """Settings that all methods have. Each method defines a subclass with additional settings."""

    projector_hidden: list[Count]
    projector_dim: Count
    training: SSLTraining

    @property
    def snapshot_epochs(self) -> tuple[int, ...]:
        """Epochs after which the weights are saved: the first, every `snapshot_every`-th, and the last."""
        epochs = self.training.epochs
        return tuple(sorted({1, *range(self.snapshot_every, epochs + 1, self.snapshot_every), epochs}))

    def network_sizes(self, in_channels: int, last_norm: bool, predictor_hidden: int | None = None) -> dict:
        return {
            "in_channels": in_channels,
            "backbone": self.backbone.model_dump(),
            "projector": {"hidden": self.projector_hidden, "dim": self.projector_dim, "last_norm": last_norm},
            "predictor": None if predictor_hidden is None else {"hidden": predictor_hidden},
        }


class Variant(Section):
    """Section of a variant: the method name, and overriding settings that `recipes.recipe` validates."""

    model_config = ConfigDict(extra="allow")

    method: str


class SSLParams(Section):
    shared: SharedRecipe
    methods: dict[str, dict]
    variants: dict[Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")], Variant]

    @model_validator(mode="after")
    def _has_a_baseline(self) -> "SSLParams":
        if "simsiam" not in self.variants:
            raise ValueError("variants must include simsiam, the baseline of all comparisons")
        return self


def recipe_layers(ssl: Mapping, variant: str) -> dict[str, dict]:
    """Return the sections of params.yaml with settings of a variant, by name. Later sections override earlier ones."""
    own = dict(ssl["variants"][variant])
    method = own.pop("method", "")
    return {
        "ssl.shared": ssl.get("shared") or {},
        f"ssl.methods.{method}": (ssl.get("methods") or {}).get(method) or {},
        f"ssl.variants.{variant}": own,
    }


def merged(layers: Mapping[str, dict]) -> dict:
    return reduce(overlaid, layers.values(), {})
