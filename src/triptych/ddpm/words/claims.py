"""The report's claims on the DDPM."""

from triptych.ddpm.words.restoration import restored_from
from triptych.measures.estimate import Estimate
from triptych.report.evidence import Evidence
from triptych.report.formatting import PERCENT, PLAIN, POINTS, written, written_limit
from triptych.report.params import ClaimsParams, DDPMClaims
from triptych.report.reader import Metrics
from triptych.report.record import Claim
from triptych.report.ruling import Condition, Ruling, every, finding, unanimous
from triptych.vae.words.claims import METRICS as VAE_METRICS

METRICS = "metrics/ddpm.json"


def restores_30(evidence: Evidence, limits: ClaimsParams) -> Ruling:
    """Comes back: the digit keeps its class, and the image its structure."""
    row, given = restored_from(evidence.results, 30), limits.ddpm
    asked = {
        f"Same class, above {written_limit(given.same_class, PERCENT)}": row.estimate("same_class").above(
            given.same_class
        ),
        f"Same image, SSIM above {written_limit(given.ssim)}": row.estimate("ssim").above(given.ssim),
    }
    return _restoration(row, given, asked, every(*asked.values()))


def fails_120(evidence: Evidence, limits: ClaimsParams) -> Ruling:
    """Does not come back: neither the class nor the structure. If only one of them does, it is open what counts."""
    row, given = restored_from(evidence.results, 120), limits.ddpm
    asked = {
        f"Another class, below {written_limit(given.same_class, PERCENT)}": row.estimate("same_class").below(
            given.same_class
        ),
        f"Another image, SSIM below {written_limit(given.ssim)}": row.estimate("ssim").below(given.ssim),
    }
    ruling = _restoration(row, given, asked, unanimous(*asked.values()))
    numbers = evidence.results.metrics("ddpm")
    half, reached = numbers.number("half_restored_t"), numbers.number("half_restored_reached")
    lost = f"Half of the digits come back as another from t = {half:.0f}."
    kept = f"Up to t = {half:.0f}, the last measured, more than half of the digits keep their class."
    return Ruling(
        ruling.holds,
        ruling.measured,
        ruling.threshold,
        f"{ruling.finding} {lost if reached else kept}",
        ruling.evidence | {"half_restored_t": half},
    )


def _restoration(row: Metrics, given: DDPMClaims, asked: dict[str, Condition], holds: Condition) -> Ruling:
    same, ssim = row.estimate("same_class"), row.estimate("ssim")
    return Ruling(
        holds,
        same,
        given.same_class,
        finding(
            f"Restored from t = {row.number('t'):.0f}, noise of σ = {written(row.number('sigma'), PLAIN)}, "
            f"{written(same, PERCENT)} of digits keep their class, with an SSIM to the original of "
            f"{written(ssim, PLAIN)}.",
            asked,
            holds,
            "More images would decide it where an interval holds its threshold; where the two answers differ, the "
            "claim does not say which counts.",
        ),
        {
            **ssim.flat("ssim"),
            "ssim_threshold": given.ssim,
            "psnr": row.number("psnr"),
            "noised_psnr": row.number("noised_psnr"),
            "sigma": row.number("sigma"),
        },
    )


def beats_vae(evidence: Evidence, limits: ClaimsParams) -> Ruling:
    """Better: nearer to real images in the judge's features, and more of them recognised."""
    given, vae, ddpm = limits.ddpm, evidence.results.metrics("vae"), evidence.results.metrics("ddpm")
    nearer, clearer = (_difference(ddpm, vae, key) for key in ("frechet_distance", "recognisability"))
    asked = {
        f"Nearer, below {written_limit(given.frechet_difference)}": nearer.below(given.frechet_difference),
        f"More recognisable, above {written_limit(given.recognisability_difference, POINTS)}": clearer.above(
            given.recognisability_difference
        ),
    }
    holds = every(*asked.values())
    numbers = {
        f"{name}_{key}": metrics.number(key)
        for name, metrics in (("ddpm", ddpm), ("vae", vae))
        for key in ("frechet_distance", "recognisability")
    }
    return Ruling(
        holds,
        nearer,
        given.frechet_difference,
        finding(
            "The Fréchet distance of the DDPM's samples is "
            f"{written(ddpm.number('frechet_distance'), PLAIN)} and of the VAE's "
            f"{written(vae.number('frechet_distance'), PLAIN)}, a difference of {written(nearer, PLAIN)}; the judge "
            f"recognises {written(ddpm.number('recognisability'), PERCENT)} against "
            f"{written(vae.number('recognisability'), PERCENT)}, {written(clearer, POINTS)}.",
            asked,
            holds,
            "More samples of both would decide it.",
        ),
        {
            **numbers,
            **clearer.flat("recognisability_difference"),
            "recognisability_threshold": given.recognisability_difference,
            "frechet_floor": ddpm.number("frechet_floor"),
            "real_recognisability": ddpm.number("real_recognisability"),
        },
    )


def _difference(one: Metrics, other: Metrics, key: str) -> Estimate:
    """One number minus the other, of models whose samples are independent."""
    # Imported here, as it brings scipy: see `studies.evidence`.
    from triptych.measures.intervals import difference

    return difference(one.estimate(key), other.estimate(key))


CLAIMS = (
    Claim(
        id="ddpm-restores-30",
        claim="From t = 30 the reverse process brings the original image back.",
        report_says="A test image noised to t = 30 comes back as the original.",
        figures=("ddpm_noised_30", "ddpm_restored_30"),
        statistic="share of digits that keep their class; and structural similarity (SSIM) to the original, at t = 30",
        sources=(METRICS,),
        format=PERCENT,
        decide=restores_30,
    ),
    Claim(
        id="ddpm-fails-120",
        claim="From t = 120 the reverse process does not bring the original image back.",
        report_says="The same test image noised to t = 120 does not come back as the original.",
        figures=("ddpm_noised_120", "ddpm_restored_120"),
        statistic="share of digits that keep their class; and structural similarity (SSIM) to the original, at t = 120",
        sources=(METRICS,),
        format=PERCENT,
        decide=fails_120,
    ),
    Claim(
        id="ddpm-beats-vae",
        claim="The DDPM's samples are better than the VAE's.",
        report_says="At the end of training the DDPM's samples are better than the VAE's.",
        figures=("vae_final_sample_*", "ddpm_final_sample_*"),
        statistic="Fréchet distance of the DDPM's samples minus that of the VAE's; and the same of recognisability",
        sources=(METRICS, VAE_METRICS),
        decide=beats_vae,
    ),
)
