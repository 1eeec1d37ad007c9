"""The diffusion model in params.yaml: its section `ddpm`, and `sampling.ddpm`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from triptych.core.schema import Count, InsideUnit, Positive, Section
from triptych.training.params import SnapshotTraining

AtLeastTwo = Annotated[int, Field(ge=2)]
NonEmpty = Field(min_length=1)


class UNetParams(Section):
    """Sizes of the report's UNet."""

    name: Literal["unet"]
    stem_width: Count
    width: Count
    multipliers: Annotated[list[Count], NonEmpty]
    heads: Count
    head_size: Count
    groups: Count

    @property
    def multiple(self) -> int:
        """Divisor that the sides of images must have."""
        return 2 ** (len(self.multipliers) - 1)

    @model_validator(mode="after")
    def _groups_divide(self) -> "UNetParams":
        widths = {self.width * multiplier for multiplier in (1, *self.multipliers)}
        odd = sorted(width for width in widths if width % self.groups)
        if odd:
            raise ValueError(f"groups {self.groups} does not divide the {odd[0]} channels of a level")
        return self


class PatchUNetParams(Section):
    """Sizes of the UNet over patches of pixels."""

    name: Literal["patch_unet"]
    patch: Count
    channels: Annotated[list[Count], NonEmpty]
    blocks: Annotated[list[Count], NonEmpty]
    attention: Annotated[list[bool], NonEmpty]
    middle_blocks: Annotated[int, Field(ge=0)]
    head_size: Count
    time_size: Annotated[int, Field(ge=2, multiple_of=2)]

    @model_validator(mode="after")
    def _sizes_agree(self) -> "PatchUNetParams":
        if not len(self.channels) == len(self.blocks) == len(self.attention):
            raise ValueError("channels, blocks and attention must have one entry for each level")
        for channels, attends in zip(self.channels, self.attention, strict=True):
            if attends and channels % self.head_size:
                raise ValueError(f"head_size {self.head_size} does not divide the {channels} channels of a level")
        return self

    @property
    def multiple(self) -> int:
        """Divisor that the sides of images must have."""
        return self.patch * 2 ** (len(self.channels) - 1)


Network = Annotated[UNetParams | PatchUNetParams, Field(discriminator="name")]


class LinearSchedule(Section):
    """Betas on a straight line over the steps (Ho et al. 2020)."""

    name: Literal["linear"]
    steps: AtLeastTwo
    first_beta: InsideUnit
    last_beta: InsideUnit


class CosineSchedule(Section):
    """alpha_bar as a squared cosine (Nichol & Dhariwal 2021)."""

    name: Literal["cosine"]
    steps: AtLeastTwo
    offset: Positive


class SquaredError(Section):
    """Mean squared error."""

    name: Literal["mse"]


class HuberError(Section):
    """Squared below delta, absolute above."""

    name: Literal["huber"]
    delta: Positive


class UniformWeighting(Section):
    """The same weight for every time."""

    name: Literal["uniform"]


class MinSNRWeighting(Section):
    """Weight min(SNR, gamma) of the error of x0 (Hang et al. 2023)."""

    name: Literal["min_snr"]
    gamma: Positive


class DDPMProcess(Section):
    """A discrete chain of noising steps, the prediction target, and its loss."""

    name: Literal["ddpm"]
    schedule: Annotated[LinearSchedule | CosineSchedule, Field(discriminator="name")]
    parameterisation: Literal["epsilon", "x0", "v"]
    loss: Annotated[SquaredError | HuberError, Field(discriminator="name")]
    weighting: Annotated[UniformWeighting | MinSNRWeighting, Field(discriminator="name")]
    times: Literal["independent", "stratified"]


class EDMProcess(Section):
    """Continuous noise levels with the preconditioning of Karras et al. 2022."""

    name: Literal["edm"]
    log_sigma_mean: float
    log_sigma_std: Positive
    sigma_data: Positive
    sigma_min: Positive
    sigma_max: Positive
    rho: Positive

    @model_validator(mode="after")
    def _rising(self) -> "EDMProcess":
        if self.sigma_min >= self.sigma_max:
            raise ValueError("sigma_min must lie below sigma_max")
        return self


Process = Annotated[DDPMProcess | EDMProcess, Field(discriminator="name")]


class DDPMParams(Section):
    """The diffusion model and its training.

    Attributes:
        seeds: number of trained models. Samples and measures use the first.
    """

    network: Network
    process: Process
    training: SnapshotTraining
    seeds: Count = 1


SamplerName = Literal["ancestral", "ddim", "dpm_solver", "sde_dpm_solver", "heun"]


class Sampler(Section):
    """A sampler and its number of steps."""

    name: SamplerName
    steps: Count


class ComparedGuidance(Section):
    """Guides and weights to compare; weight 1 is no guidance."""

    epochs: Annotated[list[Count], NonEmpty]
    weights: Annotated[list[Annotated[float, Field(gt=1)]], NonEmpty]
    samples: AtLeastTwo

    @model_validator(mode="after")
    def _rising(self) -> "ComparedGuidance":
        for name, values in (("epochs", self.epochs), ("weights", self.weights)):
            if values != sorted(set(values)):
                raise ValueError(f"{name} must be a rising list")
        return self

    @property
    def points(self) -> list[tuple[int, float]]:
        """Each guide's epoch with each weight."""
        return [(epoch, weight) for epoch in self.epochs for weight in self.weights]


class Guidance(Section):
    """Guidance by the weights that were kept after an earlier epoch."""

    weight: Annotated[float, Field(ge=1)]
    epoch: Count
    compared: ComparedGuidance

    @property
    def epochs(self) -> list[int]:
        """Every epoch whose weights guide."""
        return sorted({self.epoch, *self.compared.epochs})


class Restoration(Section):
    """Restoration of noised test images; `times` index `schedule`, whatever schedule the model was trained on."""

    schedule: LinearSchedule
    times: Annotated[list[Count], Field(min_length=2)]
    images: AtLeastTwo
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
    """Numbers of steps to compare for each sampler; an empty list omits the sampler."""

    ancestral: list[Count]
    ddim: list[Count]
    sde_dpm_solver: list[Count]
    dpm_solver: list[Count]
    heun: list[Count]


class Cost(Section):
    """Samplers whose seconds per image and quality are compared, all on the same number of samples."""

    samples: AtLeastTwo
    steps: CostSteps

    @property
    def samplers(self) -> list[Sampler]:
        """Each sampler at each of its numbers of steps."""
        return [Sampler(name=name, steps=steps) for name, counts in self.steps for steps in counts]


class DDPMSampling(Section):
    """Draws of the diffusion model, and restorations."""

    samples: AtLeastTwo
    sampler: Sampler
    guidance: Guidance
    restoration: Restoration
    cost: Cost

    @model_validator(mode="after")
    def _compared_are_drawn(self) -> "DDPMSampling":
        if self.guidance.compared.samples > self.samples:
            raise ValueError(f"guidance.compared.samples must be at most samples, {self.samples}: the first of them")
        return self


class SamplingParams(Section, extra="ignore"):
    """The keys of section `sampling` that concern the diffusion model."""

    batch_size: Count
    ddpm: DDPMSampling
