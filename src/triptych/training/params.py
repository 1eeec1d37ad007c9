"""Schema of the `training` sections in params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from triptych.core.schema import Count, NotNegative, Positive, Section, Share


class Adam(Section):
    """Settings of Adam (weight decay as an L2 penalty) or AdamW (decoupled weight decay)."""

    name: Literal["adam", "adamw"]
    learning_rate: Positive
    betas: Annotated[list[Share], Field(min_length=2, max_length=2)]
    weight_decay: NotNegative


class Muon(Section):
    """Settings of Muon for matrices and convolution kernels. `others` configures Adam for all other parameters."""

    name: Literal["muon"]
    learning_rate: Positive
    momentum: Share
    weight_decay: NotNegative
    others: Adam


class SGD(Section):
    """Settings of stochastic gradient descent with momentum."""

    name: Literal["sgd"]
    learning_rate: Positive
    momentum: Share
    weight_decay: NotNegative


class Schedule(Section):
    """Learning rate schedule: a linear warm-up, then a constant rate or a half-cosine decay to zero."""

    name: Literal["constant", "cosine"]
    warmup_steps: Annotated[int, Field(ge=0)]


class Training(Section):
    """Settings of training. `gradient_clip: 0` disables clipping; `ema_halflife_images: 0` disables averaging."""

    epochs: Count
    batch_size: Count
    workers: Count = 1  # processes that share each batch on a CPU; their number changes the results by rounding
    optimiser: Annotated[Adam | Muon | SGD, Field(discriminator="name")]
    schedule: Schedule
    gradient_clip: NotNegative
    ema_halflife_images: NotNegative

    @model_validator(mode="after")
    def _workers_share_the_batch(self) -> "Training":
        if self.batch_size % self.workers:
            raise ValueError(f"batch_size must be a multiple of workers, got {self.batch_size} and {self.workers}")
        return self


class SnapshotTraining(Training):
    """Settings of a training run that saves the weights after each epoch listed in `snapshot_epochs`."""

    snapshot_epochs: list[Count]

    @model_validator(mode="after")
    def _snapshots_are_epochs(self) -> "SnapshotTraining":
        if self.snapshot_epochs != sorted(set(self.snapshot_epochs)) or not self.snapshot_epochs:
            raise ValueError("snapshot_epochs must be strictly increasing and contain at least one epoch")
        if self.snapshot_epochs[-1] > self.epochs:
            raise ValueError(f"snapshot_epochs must be at most epochs ({self.epochs}), got {self.snapshot_epochs[-1]}")
        return self
