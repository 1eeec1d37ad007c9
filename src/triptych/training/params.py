"""How a method is trained: shared by every training stage."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from triptych.core.schema import Positive, Section, Share


class Adam(Section):
    """Adam, or AdamW with its decoupled weight decay."""

    name: Literal["adam", "adamw"]
    learning_rate: Positive
    betas: Annotated[list[Share], Field(min_length=2, max_length=2)]
    weight_decay: Annotated[float, Field(ge=0)]


class Muon(Section):
    """Muon for all that has two axes or more, kernels and matrices; AdamW for all else, biases and norms.

    `learning_rate` is Muon's, `others` AdamW's.
    """

    name: Literal["muon"]
    learning_rate: Positive
    momentum: Share
    weight_decay: Annotated[float, Field(ge=0)]
    others: Adam


class SGD(Section):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"]
    learning_rate: Positive
    momentum: Share
    weight_decay: Annotated[float, Field(ge=0)]


class Schedule(Section):
    """The learning rate's factor over a run: a linear warm-up, then constant or half a cosine to zero."""

    name: Literal["constant", "cosine"]
    warmup_steps: Annotated[int, Field(ge=0)]


class Training(Section):
    """One training run."""

    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    optimiser: Annotated[Adam | Muon | SGD, Field(discriminator="name")]
    schedule: Schedule
    gradient_clip: Annotated[float, Field(ge=0)]
    ema_halflife_images: Annotated[float, Field(ge=0)]


class SnapshotTraining(Training):
    """A training run whose weights are also kept at some epochs, as the report's figures show them."""

    snapshot_epochs: list[Annotated[int, Field(ge=1)]]

    @model_validator(mode="after")
    def _snapshots_are_epochs(self) -> "SnapshotTraining":
        if self.snapshot_epochs != sorted(set(self.snapshot_epochs)) or not self.snapshot_epochs:
            raise ValueError("snapshot_epochs must be a rising list of epochs")
        if self.snapshot_epochs[-1] > self.epochs:
            raise ValueError(f"snapshot epoch {self.snapshot_epochs[-1]} lies beyond the last epoch {self.epochs}")
        return self
