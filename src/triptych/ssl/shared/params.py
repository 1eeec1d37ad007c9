"""The `ssl` section of params.yaml: what all variants share, each method's recipe, and what each variant changes."""

from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from triptych.backbones.params import BackboneParams
from triptych.core.fields import Count
from triptych.core.schema import Section
from triptych.ssl.shared.view_params import ViewParams
from triptych.training.params import Training


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
