"""The report's claims on the VAE."""

import numpy as np

from triptych.report.evidence import Evidence
from triptych.report.formatting import PERCENT, PLAIN, written, written_limit
from triptych.report.params import ClaimsParams
from triptych.report.reader import UnmeasuredError
from triptych.report.record import Claim
from triptych.report.ruling import Ruling, every, finding

TOP = 3  # latents: those that top_latents_share of metrics/vae.json sums over
METRICS, LATENTS = "metrics/vae.json", "plots/vae/latents.csv"
SECONDS, TIMING = "plots/vae/timing.csv", "metrics/timing/vae.json"


def wall_clock(evidence: Evidence, limits: ClaimsParams) -> Ruling:
    """Steady: the seconds of the epochs spread little around their mean.

    Of the processor where one trains, for other work on the machine lengthens an epoch by the clock and the training
    takes no more of the processor for it; by the clock on other devices. Never refuted: a wide spread may still come
    from other work, which takes caches and memory, too.
    """
    # Imported here, as it brings scipy: see `studies.evidence`.
    from triptych.measures.autocorrelated import lag_one, relative_spread, slope

    table = evidence.results.table(SECONDS, "seconds", "cpu_seconds")
    on_processor = evidence.results.timing("vae").values.get("device") == "cpu"
    clock = table["seconds"].to_numpy()
    seconds = table["cpu_seconds"].to_numpy() if on_processor else clock
    if len(seconds) < 3:
        raise UnmeasuredError("the spread of epochs around their trend takes three of them")
    level, threshold = evidence.resampling.level, limits.vae.epoch_spread
    measured = lag_one(seconds)
    rho = max(measured, limits.vae.epoch_autocorrelation)
    spread, trend = relative_spread(seconds, level, rho), slope(seconds, level, rho)
    by_clock = relative_spread(clock, level, max(lag_one(clock), limits.vae.epoch_autocorrelation))
    holds = spread.below(threshold) or None
    beside = f"; by the clock by {written(by_clock, PERCENT)}" if on_processor else ""
    return Ruling(
        holds,
        spread,
        threshold,
        finding(
            f"Over {len(seconds)} epochs the seconds {'of the processor' if on_processor else 'by the clock'} that one "
            f"takes spread by {written(spread, PERCENT)} of their mean, {written(float(seconds.mean()), PLAIN)} s, and "
            f"change by {written(trend, PLAIN)} s from one epoch to the next{beside}.",
            {f"Steady, below {written_limit(threshold, PERCENT)}": holds},
            holds,
            "More epochs on an idle machine would decide it if they are steady.",
        ),
        {
            "epochs": len(seconds),
            "of_the_processor": on_processor,
            "mean_seconds": float(seconds.mean()),
            "fastest_epoch_seconds": float(seconds.min()),
            "slowest_epoch_seconds": float(seconds.max()),
            **by_clock.flat("spread_by_the_clock"),
            **trend.flat("seconds_more_each_epoch"),
            "autocorrelation_measured": measured,
            "autocorrelation_supposed": rho,
        },
    )


def blurry(evidence: Evidence, limits: ClaimsParams) -> Ruling:
    """Both: samples lack the sharpness of real images, and the judge recognises few of them."""
    vae = evidence.results.metrics("vae")
    sharpness, recognised = vae.estimate("sharpness_ratio"), vae.estimate("recognisability")
    asked = {
        f"Blurry, below {written_limit(limits.vae.sharpness, PERCENT)}": sharpness.below(limits.vae.sharpness),
        f"Mostly unrecognisable, below {written_limit(limits.vae.recognisability, PERCENT)}": recognised.below(
            limits.vae.recognisability
        ),
    }
    holds, real = every(*asked.values()), vae.number("real_recognisability")
    return Ruling(
        holds,
        sharpness,
        limits.vae.sharpness,
        finding(
            f"Samples have {written(sharpness, PERCENT)} of the sharpness of real images, and the judge recognises "
            f"{written(recognised, PERCENT)} of them, against {written(real, PERCENT)} of real images.",
            asked,
            holds,
            "More samples would decide it.",
        ),
        {
            **recognised.flat("recognisability"),
            "recognisability_threshold": limits.vae.recognisability,
            "real_recognisability": real,
        },
    )


def latents(evidence: Evidence, limits: ClaimsParams) -> Ruling:
    """A few latents: the three strongest of each class hold more of what sets it apart than all others together."""
    share, threshold = evidence.results.metrics("vae").estimate("top_latents_share"), limits.vae.top_latents_share
    table = _shares(evidence)
    holds, count = share.above(threshold), table.shape[1]
    by_class = np.sort(table, axis=1)[:, -TOP:].sum(axis=1)
    at_random = random_direction_share(count, evidence.resampling.draws, evidence.resampling.stream("direction"))
    return Ruling(
        holds,
        share,
        threshold,
        finding(
            f"The {TOP} strongest of {count} latents hold {written(share, PERCENT)} of what sets a class apart; they "
            f"would hold {written(TOP / count, PERCENT)} if all held the same, and {written(at_random, PERCENT)} if "
            "classes lay in directions drawn at random.",
            {f"A few carry each class, above {written_limit(threshold, PERCENT)}": holds},
            holds,
            "More test images would decide it.",
        ),
        {
            "latents": count,
            "share_if_all_hold_the_same": TOP / count,
            "share_of_a_random_direction": at_random,
            "least_of_a_class": float(by_class.min()),
            "most_of_a_class": float(by_class.max()),
        },
    )


def _shares(evidence: Evidence) -> np.ndarray:
    """(classes, latents) the share of each latent in what sets a class apart."""
    table = evidence.results.table(LATENTS, "class", "latent", "share")
    if table.empty:
        raise UnmeasuredError(f"{LATENTS} holds no class")
    return table.pivot(index="class", columns="latent", values="share").to_numpy()


def random_direction_share(latents: int, draws: int, rng: np.random.Generator) -> float:
    """What the strongest few coordinates hold of the squared length of a direction that prefers none, on average."""
    squares = np.sort(np.square(rng.normal(size=(draws, latents))), axis=1)
    return float((squares[:, -TOP:].sum(axis=1) / squares.sum(axis=1)).mean())


def interpolation(evidence: Evidence, limits: ClaimsParams) -> Ruling:
    """Smoothly: no step of a path is much longer than the others, as the judge sees it."""
    step, threshold = evidence.results.metrics("vae").estimate("interpolation_smoothness"), limits.vae.largest_step
    holds = step.below(threshold)
    return Ruling(
        holds,
        step,
        threshold,
        finding(
            f"Along a path between two digits the largest step is {written(step, PLAIN)} times the mean one in the "
            "judge's features; 1 is perfectly even.",
            {f"Smooth, below {written_limit(threshold)}": holds},
            holds,
            "More pairs of images would decide it.",
        ),
    )


CLAIMS = (
    Claim(
        id="vae-wall-clock",
        claim="Training the VAE takes the same time in every epoch.",
        report_says="Wall-clock time per epoch is steady over 30 epochs.",
        figures=("vae_wall_clock",),
        statistic="standard deviation of the seconds per epoch, of the processor where one trains, over their mean; "
        "its interval is one for epochs whose neighbours resemble each other",
        sources=(SECONDS, TIMING),
        format=PERCENT,
        decide=wall_clock,
    ),
    Claim(
        id="vae-blurry",
        claim="The VAE's samples are blurry and mostly unrecognisable.",
        report_says="Samples stay blurry to the end of training, and most show no digit that can be read.",
        figures=("vae_samples_*", "vae_final_sample_*"),
        statistic="sharpness of samples over that of real images; and the share of samples that the judge recognises",
        sources=(METRICS,),
        format=PERCENT,
        decide=blurry,
    ),
    Claim(
        id="vae-latents",
        claim="A few latent variables carry each class.",
        report_says="In the bar plot of each class a few latents stand out as its top contributors.",
        figures=("vae_latents_*",),
        statistic=f"share of between-class variance in the top {TOP} latents of each class, mean over classes",
        sources=(METRICS, LATENTS),
        format=PERCENT,
        decide=latents,
    ),
    Claim(
        id="vae-interpolation",
        claim="Between two points in latent space digits change smoothly into each other.",
        report_says="Three rows of interpolations change smoothly from one digit to another.",
        figures=("vae_interpolations",),
        statistic="largest over mean step along a path, in the judge's features, mean over pairs of images",
        sources=(METRICS,),
        decide=interpolation,
    ),
)
