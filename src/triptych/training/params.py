"""Schema of a training run, shared by all training stages."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from triptych.core.schema import Count, NotNegative, Positive, Section, Share


class Adam(Section):
    """Adam, or AdamW with its decoupled weight decay."""

    name: Literal["adam", "adamw"]
    learning_rate: Positive
    betas: Annotated[list[Share], Field(min_length=2, max_length=2)]
    weight_decay: NotNegative


class Muon(Section):
    """Muon for parameters with two or more axes (kernels and matrices), AdamW (`others`) for biases and norms."""

    name: Literal["muon"]
    learning_rate: Positive
    momentum: Share
    weight_decay: NotNegative
    others: Adam


class SGD(Section):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"]
    learning_rate: Positive
    momentum: Share
    weight_decay: NotNegative


class Schedule(Section):
    """Factor of the learning rate over a run: linear warm-up, then constant or half a cosine to zero."""

    name: Literal["constant", "cosine"]
    warmup_steps: Annotated[int, Field(ge=0)]


class Training(Section):
    """One training run."""

    epochs: Count
    batch_size: Count
    optimiser: Annotated[Adam | Muon | SGD, Field(discriminator="name")]
    schedule: Schedule
    gradient_clip: NotNegative
    ema_halflife_images: NotNegative


class SnapshotTraining(Training):
    """A training run that also keeps the weights of some epochs."""

    snapshot_epochs: list[Count]

    @model_validator(mode="after")
    def _snapshots_are_epochs(self) -> "SnapshotTraining":
        if self.snapshot_epochs != sorted(set(self.snapshot_epochs)) or not self.snapshot_epochs:
            raise ValueError("snapshot_epochs must be a rising list of epochs")
        if self.snapshot_epochs[-1] > self.epochs:
            raise ValueError(f"snapshot epoch {self.snapshot_epochs[-1]} lies beyond the last epoch {self.epochs}")
        return self
