"""The `ssl` section of params.yaml: settings that all variants share, each method's, and each variant's changes."""

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
    """RandAugment (Cubuk et al. 2020, arXiv:1909.13719)."""

    operations: Annotated[int, Field(ge=0)]  # N, applied one after another; 0 leaves images unchanged
    magnitude: Annotated[float, Field(ge=0, le=10)]  # M, strength of each operation


class ViewParams(Section):
    """The augmentation, in the order of its operations; probabilities are per image, pairs are [low, high]."""

    crop_scale: Annotated[list[AreaShare], *Bounds]  # share of the image's area
    crop_ratio: Annotated[list[Positive], *Bounds]  # width over height, before rounding to pixels
    flip: Probability  # left to right
    rotation: Annotated[float, Field(ge=0, le=180)]  # x turns by [-x, x] degrees
    jitter: Probability  # of a change of the next four
    brightness: Strength  # x draws the factor from [max(0, 1 - x), 1 + x], as in the next two
    contrast: Strength
    saturation: Strength
    hue: Annotated[float, Field(ge=0, le=0.5)]  # x turns the colour circle by [-x, x]
    grey: Probability
    blur: Probability
    blur_sigma: Annotated[list[Positive], *Bounds]  # standard deviation in pixels
    solarize: Probability  # inverts the brighter half of the values
    invert: Probability
    heavy: HeavyParams


class SharedRecipe(Section):
    """Settings of all variants, unless their method's section or their own overrides them."""

    seeds: Count
    snapshot_every: Count
    backbone: BackboneParams
    views: ViewParams


class SSLTraining(Training):
    """A training run with batch norm, which needs at least two images per batch."""

    batch_size: Annotated[int, Field(ge=2)]


class SSLRecipe(SharedRecipe):
    """The whole recipe of a variant; each method adds its own fields."""

    projector_hidden: list[Count]
    projector_dim: Count
    training: SSLTraining

    @property
    def snapshot_epochs(self) -> tuple[int, ...]:
        """Epochs whose weights are kept: the first, every `snapshot_every`-th and the last."""
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
    """The method of a variant and the keys that override its recipe, which the method's schema checks."""

    model_config = ConfigDict(extra="allow")

    method: str


class SSLParams(Section):
    shared: SharedRecipe
    methods: dict[str, dict]
    variants: dict[Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")], Variant]

    @model_validator(mode="after")
    def _has_a_baseline(self) -> "SSLParams":
        if "simsiam" not in self.variants:
            raise ValueError("variants must hold simsiam, which the others are compared with")
        return self


def recipe_layers(ssl: Mapping, variant: str) -> dict[str, dict]:
    """Return the sections that make a variant's recipe by their keys in params.yaml; missing ones are empty."""
    own = dict(ssl["variants"][variant])
    method = own.pop("method", "")
    return {
        "ssl.shared": ssl.get("shared") or {},
        f"ssl.methods.{method}": (ssl.get("methods") or {}).get(method) or {},
        f"ssl.variants.{variant}": own,
    }


def merged(layers: Mapping[str, dict]) -> dict:
    return reduce(overlaid, layers.values(), {})
