"""Claims of the report on the DDPM."""

from dataclasses import dataclass

from triptych.measures.estimate import Estimate
from triptych.report.claims import (
    Claim,
    Condition,
    Difference,
    Evidence,
    Fact,
    Number,
    threshold_of,
    unanimous,
    value_of,
)
from triptych.report.formatting import PERCENT, PLAIN, POINTS
from triptych.report.metrics import METRICS
from triptych.report.reader import Metrics, Results, UnmeasuredError


def restored_from(results: Results, t: int) -> Metrics:
    """Return the row of `restoration` at a time.

    Raises:
        UnmeasuredError: nothing was restored from it.
    """
    metrics = results.metrics("ddpm")
    for row in metrics.rows("restoration"):
        if row.number("t") == t:
            return row
    raise UnmeasuredError(f"{metrics.path} has no restoration from t = {t}; add {t} to sampling.ddpm.restoration.times")


@dataclass(frozen=True)
class Restored:
    """A number of the images that were restored from time t."""

    t: int
    key: str

    def __call__(self, evidence: Evidence) -> Estimate:
        return restored_from(evidence.results, self.t).estimate(self.key)


def _restoration_facts(t: int) -> tuple[Fact, ...]:
    def value(key: str) -> Fact:
        return Fact(key, lambda evidence: restored_from(evidence.results, t).number(key), METRICS[key].format)

    return (
        Fact("ssim", Restored(t, "ssim"), PLAIN),
        threshold_of("ssim_threshold", "ddpm.ssim", PLAIN),
        *map(value, ("psnr", "noised_psnr", "sigma")),
    )


MORE_IMAGES = (
    "More images would decide it where an interval holds its threshold. Where the two answers differ, the claim does "
    "not say which counts."
)
FRECHET, RECOGNISED = (
    Difference(Number("ddpm", key), Number("vae", key)) for key in ("frechet_distance", "recognisability")
)

CLAIMS = (
    Claim(
        id="ddpm-restores-30",
        claim="From t = 30 the reverse process brings the original image back.",
        report_says="A test image noised to t = 30 comes back as the original.",
        figures=("ddpm_noised_30", "ddpm_restored_30"),
        statistic="share of digits that keep their class; and structural similarity (SSIM) to the original, at t = 30",
        conditions=(
            Condition(
                "same-class",
                "Restored from t = 30, more than {threshold} of digits keep their class",
                Restored(30, "same_class"),
                "above",
                "ddpm.same_class",
                PERCENT,
            ),
            Condition(
                "same-image",
                "Restored from t = 30, the SSIM to the original is above {threshold}",
                Restored(30, "ssim"),
                "above",
                "ddpm.ssim",
                PLAIN,
            ),
        ),
        would_decide=MORE_IMAGES,
        sources=("metrics/ddpm.json",),
        facts=_restoration_facts(30),
    ),
    Claim(
        id="ddpm-fails-120",
        claim="From t = 120 the reverse process does not bring the original image back.",
        report_says="The same test image noised to t = 120 does not come back as the original.",
        figures=("ddpm_noised_120", "ddpm_restored_120"),
        statistic="share of digits that keep their class; and structural similarity (SSIM) to the original, at t = 120",
        conditions=(
            Condition(
                "other-class",
                "Restored from t = 120, less than {threshold} of digits keep their class",
                Restored(120, "same_class"),
                "below",
                "ddpm.same_class",
                PERCENT,
            ),
            Condition(
                "other-image",
                "Restored from t = 120, the SSIM to the original is below {threshold}",
                Restored(120, "ssim"),
                "below",
                "ddpm.ssim",
                PLAIN,
            ),
        ),
        combine=unanimous,
        would_decide=MORE_IMAGES,
        sources=("metrics/ddpm.json",),
        facts=(
            *_restoration_facts(120),
            value_of(
                "ddpm", "half_restored_t", title="t at which half of the digits are lost, or the last one measured"
            ),
        ),
    ),
    Claim(
        id="ddpm-beats-vae",
        claim="The DDPM's samples are better than the VAE's.",
        report_says="At the end of training the DDPM's samples are better than the VAE's.",
        figures=("vae_final_sample_*", "ddpm_final_sample_*"),
        statistic="Fréchet distance of the DDPM's samples minus that of the VAE's; and the same of recognisability",
        conditions=(
            Condition(
                "nearer",
                "The Fréchet distance of the DDPM's samples minus that of the VAE's is below {threshold}",
                FRECHET,
                "below",
                "ddpm.frechet_difference",
                "#.3g",
            ),
            Condition(
                "more-recognisable",
                "The judge recognises more of the DDPM's samples, by more than {threshold}",
                RECOGNISED,
                "above",
                "ddpm.recognisability_difference",
                POINTS,
            ),
        ),
        would_decide="More samples of both would decide it.",
        sources=("metrics/ddpm.json", "metrics/vae.json"),
        facts=(
            *(
                value_of(file, key, f"{file}_{key}", f"{METRICS[key].name} of the {file.upper()}")
                for file in ("ddpm", "vae")
                for key in ("frechet_distance", "recognisability")
            ),
            Fact("recognisability_difference", RECOGNISED, POINTS),
            threshold_of("recognisability_threshold", "ddpm.recognisability_difference", POINTS),
            value_of("ddpm", "frechet_floor", title="Fréchet distance of training images"),
            value_of("ddpm", "real_recognisability", title="recognisability of test images"),
        ),
    ),
)
