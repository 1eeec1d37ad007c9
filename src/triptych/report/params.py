"""Schema of `claims` in params.yaml: the thresholds of each study's claims, whose reasons stand there."""

from typing import Annotated

from pydantic import Field

from triptych.core.schema import InsideUnit, Section


class VAEClaims(Section):
    """Thresholds for "steady", "blurry", "unrecognisable", "a few latents" and "smoothly"."""

    epoch_spread: InsideUnit  # standard deviation over mean of the seconds per epoch
    epoch_autocorrelation: Annotated[float, Field(ge=0, lt=1)]  # highest for which that spread's interval holds
    sharpness: InsideUnit  # of samples, over that of real images
    recognisability: InsideUnit
    top_latents_share: InsideUnit
    largest_step: Annotated[float, Field(gt=1)]  # in mean steps


class DDPMClaims(Section):
    """Thresholds for "the original comes back" and "better"."""

    same_class: InsideUnit
    ssim: InsideUnit
    frechet_difference: Annotated[float, Field(le=0)]  # DDPM minus VAE
    recognisability_difference: Annotated[float, Field(ge=0, lt=1)]  # DDPM minus VAE


class SSLClaims(Section):
    """Thresholds for "clearly", "its floor" and "helps"."""

    knn_drop: InsideUnit  # a clear difference in kNN accuracy
    loss_floor: Annotated[float, Field(gt=-1, lt=0)]
    no_difference: InsideUnit  # a difference wholly within this margin of zero is none


class ClaimsParams(Section):
    """Thresholds of each study's claims."""

    vae: VAEClaims
    ddpm: DDPMClaims
    ssl: SSLClaims
