"""The `sampling` section of params.yaml: what is drawn from trained weights."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from triptych.core.fields import Count, InsideUnit
from triptych.core.schema import Section

SamplerName = Literal["ancestral", "ddim", "dpm_solver", "sde_dpm_solver", "heun"]
Many = Annotated[int, Field(ge=2)]


class VAESampling(Section):
    """Draws of the prior, and paths through the latent space."""

    samples: Many
    interpolation_pairs: Count
    interpolation_steps: Annotated[int, Field(ge=3)]


class Sampler(Section):
    """How samples are drawn from a diffusion model."""

    name: SamplerName
    steps: Count


class TimeSchedule(Section):
    """The linear schedule on which restoration counts t, whatever the model was trained on."""

    name: Literal["linear"]
    steps: Annotated[int, Field(ge=2)]
    first_beta: InsideUnit
    last_beta: InsideUnit


class Restoration(Section):
    """Test images noised to t and run back: times on the report's schedule, counted from 1."""

    schedule: TimeSchedule
    times: Annotated[list[Count], Field(min_length=2)]
    images: Many
    steps: Count
    strip_class: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _on_the_schedule(self) -> "Restoration":
        if self.times != sorted(set(self.times)) or self.times[-1] > self.schedule.steps:
            raise ValueError(f"times must be a rising list within 1 to {self.schedule.steps}")
        if not {30, 120} <= set(self.times):
            raise ValueError("times must hold 30 and 120, which the report speaks of")
        return self


class CostSteps(Section):
    """Numbers of steps of each sampler; an empty list leaves it out."""

    ancestral: list[Count]
    ddim: list[Count]
    sde_dpm_solver: list[Count]
    dpm_solver: list[Count]
    heun: list[Count]


class Cost(Section):
    """The points of the figure of sampling cost against quality, all of the same number of samples."""

    samples: Many
    steps: CostSteps

    @property
    def points(self) -> list[Sampler]:
        """Each sampler at each of its numbers of steps."""
        return [Sampler(name=name, steps=steps) for name, counts in self.steps for steps in counts]


class DDPMSampling(Section):
    """Draws of the diffusion model, and restorations."""

    samples: Many
    sampler: Sampler
    restoration: Restoration
    cost: Cost


class SamplingParams(Section):
    """What is drawn from the trained weights of each generative study."""

    batch_size: Count
    vae: VAESampling
    ddpm: DDPMSampling
