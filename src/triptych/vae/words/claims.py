"""Claims of the report on the VAE."""

import numpy as np

from triptych.measures.estimate import Estimate
from triptych.report.claims import Claim, Condition, Evidence, Fact, Number, threshold_of, value_of
from triptych.report.formatting import PERCENT, PLAIN, YES_NO
from triptych.report.reader import UnmeasuredError

TOP = 3  # latents: those that top_latents_share of metrics/vae.json sums over
METRICS, LATENTS = "metrics/vae.json", "plots/vae/latents.csv"
SECONDS, TIMING = "plots/vae/timing.csv", "metrics/timing/vae.json"


def epoch_times(evidence: Evidence) -> dict[str, Estimate | float]:
    """Return the spread of the seconds per epoch around their mean, and what explains it.

    CPU time where the CPU trains, because other work on the machine lengthens an epoch's wall-clock time and hardly its
    CPU time; wall-clock time on other devices.

    Raises:
        UnmeasuredError: there are fewer than three epochs.
    """
    from triptych.measures.autocorrelated import lag_one, relative_spread, slope

    table = evidence.results.table(SECONDS, "seconds", "cpu_seconds")
    on_cpu = evidence.results.timing("vae").values.get("device") == "cpu"
    wall_clock = table["seconds"].to_numpy()
    seconds = table["cpu_seconds"].to_numpy() if on_cpu else wall_clock
    if len(seconds) < 3:
        raise UnmeasuredError("the spread around the trend needs at least three epochs")
    level, supposed = evidence.resampling.level, evidence.threshold("vae.epoch_autocorrelation")
    measured = lag_one(seconds)
    rho = max(measured, supposed)
    return {
        "spread": relative_spread(seconds, level, rho),
        "epochs": len(seconds),
        "of_the_processor": on_cpu,
        "mean_seconds": float(seconds.mean()),
        "fastest_epoch_seconds": float(seconds.min()),
        "slowest_epoch_seconds": float(seconds.max()),
        "spread_by_the_clock": relative_spread(wall_clock, level, max(lag_one(wall_clock), supposed)),
        "seconds_more_each_epoch": slope(seconds, level, rho),
        "autocorrelation_measured": measured,
        "autocorrelation_supposed": rho,
    }


def _epoch_fact(key: str, form: str, name: str = "") -> Fact:
    return Fact(key, lambda evidence: epoch_times(evidence)[key], form, name)


def latent_shares(evidence: Evidence) -> np.ndarray:
    """Return the share of each latent in the between-class variance, (classes, latents).

    Raises:
        UnmeasuredError: the images have no classes.
    """
    table = evidence.results.table(LATENTS, "class", "latent", "share")
    if table.empty:
        raise UnmeasuredError(f"{LATENTS} has no classes")
    return table.pivot(index="class", columns="latent", values="share").to_numpy()


def top_shares(evidence: Evidence) -> np.ndarray:
    """Return the share of the strongest latents of each class, (classes,)."""
    return np.sort(latent_shares(evidence), axis=1)[:, -TOP:].sum(axis=1)


def random_direction_share(latents: int, draws: int, rng: np.random.Generator) -> float:
    """Return the mean share of the TOP strongest coordinates in the squared length of a random direction."""
    squares = np.sort(np.square(rng.normal(size=(draws, latents))), axis=1)
    return float((squares[:, -TOP:].sum(axis=1) / squares.sum(axis=1)).mean())


def _at_random(evidence: Evidence) -> float:
    resampling = evidence.resampling
    latents = latent_shares(evidence).shape[1]
    return random_direction_share(latents, resampling.draws, resampling.stream("direction"))


CLAIMS = (
    Claim(
        id="vae-wall-clock",
        claim="Training the VAE takes the same time in every epoch.",
        report_says="Wall-clock time per epoch is steady over 30 epochs.",
        figures=("vae_wall_clock",),
        statistic="relative standard deviation of CPU time per epoch, or of wall-clock time where the CPU does not "
        "train; the interval allows for autocorrelation",
        conditions=(
            # Other work on the machine takes caches and memory, so a wide spread does not prove unsteady training.
            Condition(
                "steady",
                "Seconds per epoch have a relative standard deviation below {threshold}",
                lambda evidence: epoch_times(evidence)["spread"],
                "below",
                "vae.epoch_spread",
                PERCENT,
                refutable=False,
            ),
        ),
        would_decide="If training is steady, more epochs on an idle machine would decide it.",
        sources=(SECONDS, TIMING),
        facts=(
            _epoch_fact("epochs", ".0f"),
            _epoch_fact("of_the_processor", YES_NO, "CPU time"),
            _epoch_fact("mean_seconds", PLAIN),
            _epoch_fact("fastest_epoch_seconds", PLAIN),
            _epoch_fact("slowest_epoch_seconds", PLAIN),
            _epoch_fact("spread_by_the_clock", PERCENT, "spread of wall-clock time"),
            _epoch_fact("seconds_more_each_epoch", PLAIN, "change of seconds per epoch"),
            _epoch_fact("autocorrelation_measured", PLAIN),
            _epoch_fact("autocorrelation_supposed", PLAIN, "autocorrelation assumed"),
        ),
    ),
    Claim(
        id="vae-blurry",
        claim="The VAE's samples are blurry and mostly unrecognisable.",
        report_says="Samples stay blurry to the end of training, and most show no digit that can be read.",
        figures=("vae_samples_*", "vae_final_sample_*"),
        statistic="sharpness of samples over that of real images; and the share of samples that the judge recognises",
        conditions=(
            Condition(
                "blurry",
                "Samples have less than {threshold} of the sharpness of real images",
                Number("vae", "sharpness_ratio"),
                "below",
                "vae.sharpness",
                PERCENT,
            ),
            Condition(
                "unrecognisable",
                "The judge recognises less than {threshold} of the samples",
                Number("vae", "recognisability"),
                "below",
                "vae.recognisability",
                PERCENT,
            ),
        ),
        would_decide="More samples would decide it.",
        sources=(METRICS,),
        facts=(
            Fact("recognisability", Number("vae", "recognisability"), PERCENT),
            threshold_of("recognisability_threshold", "vae.recognisability", PERCENT),
            value_of("vae", "real_recognisability", title="recognisability of test images"),
        ),
    ),
    Claim(
        id="vae-latents",
        claim="A few latent variables carry each class.",
        report_says="In the bar plot of each class a few latents stand out as its top contributors.",
        figures=("vae_latents_*",),
        statistic=f"share of between-class variance in the top {TOP} latents of each class, mean over classes",
        conditions=(
            Condition(
                "few-latents",
                f"The {TOP} strongest latents of a class hold more than {{threshold}} of what distinguishes it",
                Number("vae", "top_latents_share"),
                "above",
                "vae.top_latents_share",
                PERCENT,
            ),
        ),
        would_decide="More test images would decide it.",
        sources=(METRICS, LATENTS),
        facts=(
            Fact("latents", lambda evidence: latent_shares(evidence).shape[1], ".0f"),
            Fact(
                "share_if_all_hold_the_same",
                lambda evidence: TOP / latent_shares(evidence).shape[1],
                PERCENT,
                "share if all latents hold the same",
            ),
            Fact("share_of_a_random_direction", _at_random, PERCENT),
            Fact(
                "least_of_a_class",
                lambda evidence: float(top_shares(evidence).min()),
                PERCENT,
                "lowest share of a class",
            ),
            Fact(
                "most_of_a_class",
                lambda evidence: float(top_shares(evidence).max()),
                PERCENT,
                "highest share of a class",
            ),
        ),
    ),
    Claim(
        id="vae-interpolation",
        claim="Between two points in latent space digits change smoothly into each other.",
        report_says="Three rows of interpolations change smoothly from one digit to another.",
        figures=("vae_interpolations",),
        statistic="largest over mean step along a path, in the judge's features, mean over pairs of images",
        conditions=(
            Condition(
                "smooth",
                "The largest step between two digits is less than {threshold} times the mean step",
                Number("vae", "interpolation_smoothness"),
                "below",
                "vae.largest_step",
                PLAIN,
            ),
        ),
        would_decide="More pairs of images would decide it.",
        sources=(METRICS,),
    ),
)
