"""The thresholds of the claims: from where on a number says yes."""

from typing import Annotated

from pydantic import Field

from triptych.core.schema import InsideUnit, Section


class VAEClaims(Section):
    """What "steady", "blurry", "unrecognisable", "a few latents" and "smoothly" mean.

    Attributes:
        epoch_spread: seconds per epoch are steady when their standard deviation is below this share of their mean.
        epoch_autocorrelation: the interval of the spread holds for epochs whose seconds correlate this much with the
            next one's, or less.
        sharpness: samples are blurry below this share of the sharpness of real images.
        recognisability: samples are mostly unrecognisable when the judge recognises less than this share of them.
        top_latents_share: a few latents carry the classes when the strongest three hold more than this share.
        largest_step: digits change smoothly when the largest step of a path is below this many mean steps.
    """

    epoch_spread: InsideUnit
    epoch_autocorrelation: Annotated[float, Field(ge=0, lt=1)]
    sharpness: InsideUnit
    recognisability: InsideUnit
    top_latents_share: InsideUnit
    largest_step: Annotated[float, Field(gt=1)]


class DDPMClaims(Section):
    """What "the original comes back" and "better" mean.

    Attributes:
        same_class: the digit comes back when more than this share of images keep their class.
        ssim: the image comes back when its structural similarity to the original is above this.
        frechet_difference: the DDPM's Fréchet distance minus the VAE's must be below this.
        recognisability_difference: the DDPM's recognisability minus the VAE's must be above this.
    """

    same_class: InsideUnit
    ssim: InsideUnit
    frechet_difference: Annotated[float, Field(le=0)]
    recognisability_difference: Annotated[float, Field(ge=0, lt=1)]


class SSLClaims(Section):
    """What "clearly", "its floor" and "helps" mean.

    Attributes:
        knn_drop: what loses more than this share of test images to another is clearly worse: an ablation than SimSiam,
            a small batch than a large one; and an encoder has learned something when pixels and the untrained encoder
            lose more than this to it.
        loss_floor: the loss has reached its floor of -1 when it is below this.
        no_difference: a difference in accuracy wholly within this, either way, is none worth speaking of.
    """

    knn_drop: InsideUnit
    loss_floor: Annotated[float, Field(gt=-1, lt=0)]
    no_difference: InsideUnit


class ClaimsParams(Section):
    """The thresholds of each study's claims."""

    vae: VAEClaims
    ddpm: DDPMClaims
    ssl: SSLClaims
