"""The `sampling` section of params.yaml: what is drawn from trained weights."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from triptych.core.schema import Count, InsideUnit, Section

SamplerName = Literal["ancestral", "ddim", "dpm_solver", "sde_dpm_solver", "heun"]
Many = Annotated[int, Field(ge=2)]


class FittedPrior(Section):
    """The mixture of Gaussians that is fitted to the aggregate posterior; see `sampling.prior`."""

    components: Count
    covariance: Literal["full", "tied", "diag"]
    draws: Count
    iterations: Count


class VAESampling(Section):
    """Draws of both priors, and paths through the latent space."""

    samples: Many
    fitted_prior: FittedPrior
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


class ComparedGuidance(Section):
    """The points of the figure of guidance: each guide at each weight above 1, which is no guidance."""

    epochs: Annotated[list[Count], Field(min_length=1)]
    weights: Annotated[list[Annotated[float, Field(gt=1)]], Field(min_length=1)]
    samples: Many

    @model_validator(mode="after")
    def _rising(self) -> "ComparedGuidance":
        for name, values in (("epochs", self.epochs), ("weights", self.weights)):
            if values != sorted(set(values)):
                raise ValueError(f"{name} must be a rising list")
        return self


class Guidance(Section):
    """Guidance by the weights that were kept after an earlier epoch."""

    weight: Annotated[float, Field(ge=1)]
    epoch: Count
    compared: ComparedGuidance

    @property
    def epochs(self) -> list[int]:
        """Every epoch whose weights guide."""
        return sorted({self.epoch, *self.compared.epochs})


class DDPMSampling(Section):
    """Draws of the diffusion model, and restorations."""

    samples: Many
    sampler: Sampler
    guidance: Guidance
    restoration: Restoration
    cost: Cost

    @model_validator(mode="after")
    def _compared_are_drawn(self) -> "DDPMSampling":
        if self.guidance.compared.samples > self.samples:
            raise ValueError(f"guidance.compared.samples must be at most samples, {self.samples}: the first of them")
        return self

    def is_among_samples(self, point: Sampler) -> bool:
        """Whether the samples of a point of the comparison of samplers are the first of `samples`."""
        return point in self.cost.points and point == self.sampler and self.cost.samples <= self.samples


class SamplingParams(Section):
    """What is drawn from the trained weights of each generative study."""

    batch_size: Count
    vae: VAESampling
    ddpm: DDPMSampling
