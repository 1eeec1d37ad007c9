"""The `ddpm` section of params.yaml: what is trained, and how."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from triptych.core.schema import Count, InsideUnit, Positive, Section
from triptych.training.params import SnapshotTraining


class UNetParams(Section):
    """Sizes of the report's UNet."""

    name: Literal["unet"]
    stem_width: Count
    width: Count
    multipliers: Annotated[list[Count], Field(min_length=1)]
    heads: Count
    head_size: Count
    groups: Count

    @property
    def multiple(self) -> int:
        """What the sides of images must be multiples of."""
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
    channels: Annotated[list[Count], Field(min_length=1)]
    blocks: Annotated[list[Count], Field(min_length=1)]
    attention: Annotated[list[bool], Field(min_length=1)]
    middle_blocks: Annotated[int, Field(ge=0)]
    head_size: Count
    time_size: Annotated[int, Field(ge=2, multiple_of=2)]

    @model_validator(mode="after")
    def _levels_agree(self) -> "PatchUNetParams":
        if not len(self.channels) == len(self.blocks) == len(self.attention):
            raise ValueError("channels, blocks and attention must have one entry for each level")
        return self

    @model_validator(mode="after")
    def _heads_divide(self) -> "PatchUNetParams":
        for channels, attends in zip(self.channels, self.attention, strict=True):
            if attends and channels % self.head_size:
                raise ValueError(f"head_size {self.head_size} does not divide the {channels} channels of a level")
        return self

    @property
    def multiple(self) -> int:
        """What the sides of images must be multiples of."""
        return self.patch * 2 ** (len(self.channels) - 1)


Network = Annotated[UNetParams | PatchUNetParams, Field(discriminator="name")]


class LinearSchedule(Section):
    """beta rises linearly over the steps (Ho et al. 2020)."""

    name: Literal["linear"]
    steps: Annotated[int, Field(ge=2)]
    first_beta: InsideUnit
    last_beta: InsideUnit


class CosineSchedule(Section):
    """alpha-bar falls like a squared cosine (Nichol & Dhariwal 2021)."""

    name: Literal["cosine"]
    steps: Annotated[int, Field(ge=2)]
    offset: Positive


class SquaredError(Section):
    """Mean squared error."""

    name: Literal["mse"]


class HuberError(Section):
    """Squared below delta, absolute above."""

    name: Literal["huber"]
    delta: Positive


class UniformWeighting(Section):
    """Every time counts alike."""

    name: Literal["uniform"]


class MinSNRWeighting(Section):
    """The error of x0 weighs min(SNR, gamma) (Hang et al. 2023)."""

    name: Literal["min_snr"]
    gamma: Positive


class DDPMProcess(Section):
    """A discrete chain of noising steps and what the network learns of it."""

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
