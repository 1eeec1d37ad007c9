"""Schema of the sections `ddpm` and `sampling.ddpm` of params.yaml."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from triptych.core.schema import Count, InsideUnit, Positive, Section
from triptych.training.params import SnapshotTraining

AtLeastTwo = Annotated[int, Field(ge=2)]
NonEmpty = Field(min_length=1)


def strictly_increasing(values: list) -> list:
    """Return `values`. Raises ValueError if they are not strictly increasing."""
    if values != sorted(set(values)):
        raise ValueError("must be strictly increasing")
    return values


Increasing = AfterValidator(strictly_increasing)


class UNetParams(Section):
    """Sizes of the UNet of the original report; see `triptych.ddpm.model.UNet`."""

    name: Literal["unet"]
    stem_width: Count
    width: Count
    multipliers: Annotated[list[Count], NonEmpty]
    heads: Count
    head_size: Count
    groups: Count

    @property
    def multiple(self) -> int:
        """Number by which the height and width of images must be divisible."""
        return 2 ** (len(self.multipliers) - 1)

    @model_validator(mode="after")
    def _groups_divide(self) -> "UNetParams":
        widths = {self.width * multiplier for multiplier in (1, *self.multipliers)}
        undivided = sorted(width for width in widths if width % self.groups)
        if undivided:
            raise ValueError(
                f"the channel count of each level must be a multiple of groups ({self.groups}), got {undivided[0]}"
            )
        return self


class PatchUNetParams(Section):
    """Sizes of the UNet over patches of pixels; see `triptych.ddpm.model.PatchUNet`."""

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
            raise ValueError("channels, blocks and attention must have one entry per level")
        for channels, attends in zip(self.channels, self.attention, strict=True):
            if attends and channels % self.head_size:
                raise ValueError(
                    "the channel count of each level with attention must be a multiple of head_size "
                    f"({self.head_size}), got {channels}"
                )
        return self

    @property
    def multiple(self) -> int:
        """Number by which the height and width of images must be divisible."""
        return self.patch * 2 ** (len(self.channels) - 1)


Network = Annotated[UNetParams | PatchUNetParams, Field(discriminator="name")]


class LinearSchedule(Section):
    """Noise schedule with betas (noise variances per step) that grow linearly from `first_beta` to `last_beta`."""

    name: Literal["linear"]
    steps: AtLeastTwo
    first_beta: InsideUnit
    last_beta: InsideUnit


class CosineSchedule(Section):
    """Noise schedule: alpha_bar is proportional to cos²(π/2 (t/T + offset) / (1 + offset)) (Nichol & Dhariwal 2021)."""

    name: Literal["cosine"]
    steps: AtLeastTwo
    offset: Positive


class SquaredError(Section):
    name: Literal["mse"]


class HuberError(Section):
    name: Literal["huber"]
    delta: Positive


class UniformWeighting(Section):
    name: Literal["uniform"]


class MinSNRWeighting(Section):
    """Weighting of the error in x0 by min(SNR, gamma), where SNR is the signal-to-noise ratio (Hang et al. 2023)."""

    name: Literal["min_snr"]
    gamma: Positive


class DDPMProcess(Section):
    """Discrete diffusion process: noise schedule, prediction target (`parameterisation`), loss, weighting, times."""

    name: Literal["ddpm"]
    schedule: Annotated[LinearSchedule | CosineSchedule, Field(discriminator="name")]
    parameterisation: Literal["epsilon", "x0", "v"]
    loss: Annotated[SquaredError | HuberError, Field(discriminator="name")]
    weighting: Annotated[UniformWeighting | MinSNRWeighting, Field(discriminator="name")]
    times: Literal["independent", "stratified"]


class EDMProcess(Section):
    """Diffusion process with the continuous noise levels and the preconditioning of EDM (Karras et al. 2022)."""

    name: Literal["edm"]
    log_sigma_mean: float
    log_sigma_std: Positive
    sigma_data: Positive
    sigma_min: Positive
    sigma_max: Positive
    rho: Positive

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> "EDMProcess":
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min must be less than sigma_max ({self.sigma_max}), got {self.sigma_min}")
        return self


Process = Annotated[DDPMProcess | EDMProcess, Field(discriminator="name")]


class DDPMParams(Section):
    network: Network
    process: Process
    training: SnapshotTraining
    seeds: Count = 1  # number of trained models; samples and measures use the first


SamplerName = Literal["ancestral", "ddim", "dpm_solver", "sde_dpm_solver", "heun"]


class Sampler(Section):
    name: SamplerName
    steps: Count


class ComparedGuidance(Section):
    """Settings for comparing guides. Model snapshots after each of `epochs` guide with each weight in `weights`."""

    epochs: Annotated[list[Count], NonEmpty, Increasing]
    weights: Annotated[list[Annotated[float, Field(gt=1)]], NonEmpty, Increasing]
    samples: AtLeastTwo

    @property
    def points(self) -> list[tuple[int, float]]:
        """All pairs (epoch, weight) of an epoch in `epochs` and a weight in `weights`."""
        return [(epoch, weight) for epoch in self.epochs for weight in self.weights]


class Guidance(Section):
    """Settings for autoguidance, in which a snapshot of the model from an earlier epoch guides the sampler."""

    weight: Annotated[float, Field(ge=1)]
    epoch: Count
    compared: ComparedGuidance

    @property
    def epochs(self) -> list[int]:
        """Epochs of all snapshots that are used as guides, in increasing order."""
        return sorted({self.epoch, *self.compared.epochs})


class Restoration(Section):
    """Settings for restoring the first `images` test images, noised to each of `times` in the noise schedule.

    Figures show the steps of the restoration for one image of the class with the index `strip_class`.
    """

    schedule: LinearSchedule
    times: Annotated[list[Count], Increasing]
    images: AtLeastTwo
    steps: Count
    strip_class: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _times_are_on_the_schedule(self) -> "Restoration":
        if not {30, 120} <= set(self.times):
            raise ValueError("times must include 30 and 120, which the report uses")
        if self.times[-1] > self.schedule.steps:
            raise ValueError(f"times must be at most schedule.steps ({self.schedule.steps}), got {self.times[-1]}")
        return self


class CostSteps(Section):
    ancestral: list[Count]
    ddim: list[Count]
    sde_dpm_solver: list[Count]
    dpm_solver: list[Count]
    heun: list[Count]


class Cost(Section):
    """Settings for comparing the speed and quality of samplers at the numbers of steps listed in `steps`."""

    samples: AtLeastTwo
    steps: CostSteps

    @property
    def samplers(self) -> list[Sampler]:
        """All samplers to compare: one entry for each pair of a sampler name and a number of steps."""
        return [Sampler(name=name, steps=steps) for name, counts in self.steps for steps in counts]


class DDPMSampling(Section):
    """Settings for sampling from the diffusion model, restoring noised images, and comparing guides and samplers."""

    samples: AtLeastTwo
    sampler: Sampler
    guidance: Guidance
    restoration: Restoration
    cost: Cost

    @model_validator(mode="after")
    def _enough_samples_to_compare(self) -> "DDPMSampling":
        if (compared := self.guidance.compared.samples) > self.samples:
            raise ValueError(f"guidance.compared.samples must be at most samples ({self.samples}), got {compared}")
        return self


class SamplingParams(Section, extra="ignore"):
    """Keys of the section `sampling` that are used to sample from the diffusion model."""

    batch_size: Count
    ddpm: DDPMSampling
