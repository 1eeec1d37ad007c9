"""The report's claims on the DDPM."""

from triptych.statistics.intervals import difference_interval
from triptych.studies.claim import (
    Claim,
    Condition,
    Ruling,
    every,
    finding,
    limit,
    percent,
    percent_limit,
    plain,
    points,
    points_limit,
    shown,
    unanimous,
)
from triptych.studies.evidence import DDPM, VAE, Estimate, Evidence, Metrics, UnmeasuredError
from triptych.studies.params import ClaimsParams, DDPMClaims


def restores_30(evidence: Evidence, limits: ClaimsParams) -> Ruling:
    """Comes back: the digit keeps its class, and the image its structure."""
    row, given = _restored_from(evidence, 30), limits.ddpm
    asked = {
        f"Same class, above {percent_limit(given.same_class)}": row.estimate("same_class").above(given.same_class),
        f"Same image, SSIM above {limit(given.ssim)}": row.estimate("ssim").above(given.ssim),
    }
    return _restoration(row, given, asked, every(*asked.values()))


def fails_120(evidence: Evidence, limits: ClaimsParams) -> Ruling:
    """Does not come back: neither the class nor the structure. If only one of them does, it is open what counts."""
    row, given = _restored_from(evidence, 120), limits.ddpm
    asked = {
        f"Another class, below {percent_limit(given.same_class)}": row.estimate("same_class").below(given.same_class),
        f"Another image, SSIM below {limit(given.ssim)}": row.estimate("ssim").below(given.ssim),
    }
    ruling = _restoration(row, given, asked, unanimous(*asked.values()))
    half, reached = (evidence.ddpm.number(f"half_restored_{key}") for key in ("t", "reached"))
    lost = f"Half of the digits come back as another from t = {half:.0f}."
    kept = f"Up to t = {half:.0f}, the last measured, more than half of the digits keep their class."
    return Ruling(
        ruling.holds,
        ruling.measured,
        ruling.threshold,
        f"{ruling.finding} {lost if reached else kept}",
        ruling.evidence | {"half_restored_t": half},
    )


def _restored_from(evidence: Evidence, t: int) -> Metrics:
    """The row of the restorations from a time."""
    for row in evidence.ddpm.rows("restoration"):
        if row.number("t") == t:
            return row
    raise UnmeasuredError(f"{DDPM} holds no restoration from t = {t}; add it to ddpm.evaluation.restoration.times")


def _restoration(row: Metrics, given: DDPMClaims, asked: dict[str, Condition], holds: Condition) -> Ruling:
    same, ssim = row.estimate("same_class"), row.estimate("ssim")
    return Ruling(
        holds,
        same,
        given.same_class,
        finding(
            f"Restored from t = {row.number('t'):.0f}, noise of σ = {plain(row.number('sigma'))}, "
            f"{shown(same, percent)} of digits keep their class, with an SSIM to the original of {shown(ssim, plain)}.",
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
    given, vae, ddpm = limits.ddpm, evidence.vae, evidence.ddpm
    nearer, clearer = (_difference(ddpm, vae, key) for key in ("frechet_distance", "recognisability"))
    asked = {
        f"Nearer, below {limit(given.frechet_difference)}": nearer.below(given.frechet_difference),
        f"More recognisable, above {points_limit(given.recognisability_difference)}": clearer.above(
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
            f"The Fréchet distance of the DDPM's samples is {plain(numbers['ddpm_frechet_distance'])} and of the VAE's "
            f"{plain(numbers['vae_frechet_distance'])}, a difference of {shown(nearer, plain)}; the judge recognises "
            f"{percent(numbers['ddpm_recognisability'])} against {percent(numbers['vae_recognisability'])}, "
            f"{shown(clearer, points)}.",
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
    a, b = one.estimate(key), other.estimate(key)
    return Estimate(a.value - b.value, **difference_interval(a.value, a.interval, b.value, b.interval))


CLAIMS = (
    Claim(
        id="ddpm-restores-30",
        claim="From t = 30 the reverse process brings the original image back.",
        report_says="A test image noised to t = 30 comes back as the original.",
        figures=(35, 36),
        statistic="share of digits that keep their class; and structural similarity (SSIM) to the original, at t = 30",
        sources=(DDPM,),
        decide=restores_30,
    ),
    Claim(
        id="ddpm-fails-120",
        claim="From t = 120 the reverse process does not bring the original image back.",
        report_says="The same test image noised to t = 120 does not come back as the original.",
        figures=(37, 38),
        statistic="share of digits that keep their class; and structural similarity (SSIM) to the original, at t = 120",
        sources=(DDPM,),
        decide=fails_120,
    ),
    Claim(
        id="ddpm-beats-vae",
        claim="The DDPM's samples are better than the VAE's.",
        report_says="At the end of training the DDPM's samples are better than the VAE's.",
        figures=(*range(12, 17), *range(39, 44)),
        statistic="Fréchet distance of the DDPM's samples minus that of the VAE's; and the same of recognisability",
        sources=(DDPM, VAE),
        decide=beats_vae,
    ),
)
