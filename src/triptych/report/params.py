"""Schema of the section `claims` of params.yaml, which contains the thresholds for claims of the original report."""

from typing import Annotated

from pydantic import Field

from triptych.core.schema import InsideUnit, Section


class VAEClaims(Section):
    """Section `claims.vae` of params.yaml: thresholds for the claims about the VAE."""

    epoch_spread: InsideUnit  # "steady": the relative standard deviation of seconds per epoch is below this
    epoch_autocorrelation: Annotated[float, Field(ge=0, lt=1)]  # assumed for the interval of that spread, at least
    sharpness: InsideUnit  # "blurry": samples have less than this fraction of the sharpness of real images
    recognisability: InsideUnit  # "unrecognisable": the judge recognises less than this fraction of samples
    no_difference: InsideUnit  # "a few latents carry each class" does not hold if they carry less than this over chance


class DDPMClaims(Section):
    """Section `claims.ddpm` of params.yaml: thresholds for the claims about the DDPM."""

    same_class: InsideUnit  # "the original comes back": more than this fraction of images keep their class ...
    lost: InsideUnit  # "the original does not come back": less than this fraction of images keep their class
    ssim: InsideUnit  # and the mean SSIM to the original is above this, or below
    frechet_difference: Annotated[float, Field(le=0)]  # "better": Fréchet distance, DDPM minus VAE, is below this ...
    recognisability_difference: Annotated[float, Field(ge=0, lt=1)]  # ... and recognisability is above this


class SSLClaims(Section):
    """Section `claims.ssl` of params.yaml: thresholds for the claims about self-supervised encoders."""

    knn_drop: InsideUnit  # "clearly better" or "clearly worse": kNN accuracies differ by more than this fraction
    loss_floor: Annotated[float, Field(gt=-1, lt=0)]  # "at its floor": the final loss is below this; the minimum is -1
    no_difference: InsideUnit  # "helps" does not hold if the interval of the gain is within this margin of zero


class ClaimsParams(Section):
    """Section `claims` of params.yaml: thresholds for the claims about the VAE, DDPM and self-supervised encoders."""

    vae: VAEClaims
    ddpm: DDPMClaims
    ssl: SSLClaims
