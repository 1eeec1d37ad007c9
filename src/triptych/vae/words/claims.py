"""Functions that claims.yaml calls to compute numbers for the claims about the VAE."""

import numpy as np

from triptych.measures.estimate import Estimate
from triptych.report.claims import Evidence, Measure
from triptych.report.reader import UnmeasuredError
from triptych.vae.words.figures import STRONGEST


def epoch_times(key: str) -> Measure:
    """Return a function that computes the statistic `key` of the time per training epoch, such as `mean` or `slope`.

    The time is CPU time for training on the CPU, because other load hardly affects CPU time; else wall-clock time.
    """

    def measure(evidence: Evidence) -> Estimate | float:
        from triptych.measures.autocorrelated import lag_one, relative_spread, slope

        table = evidence.results.table("plots/vae/timing.csv", "seconds", "cpu_seconds")
        on_cpu = evidence.results.timing("vae").values.get("device") == "cpu"
        wall_clock = table["seconds"].to_numpy()
        seconds = table["cpu_seconds"].to_numpy() if on_cpu else wall_clock
        if len(seconds) < 3:
            raise UnmeasuredError("the residual standard deviation around the trend needs at least three epochs")
        level, assumed = evidence.resampling.level, evidence.threshold("vae.epoch_autocorrelation")
        measured = lag_one(seconds)
        rho = max(measured, assumed)
        return {
            "spread": relative_spread(seconds, level, rho),
            "count": len(seconds),
            "on_cpu": on_cpu,
            "mean": float(seconds.mean()),
            "fastest": float(seconds.min()),
            "slowest": float(seconds.max()),
            "wall_clock_spread": relative_spread(wall_clock, level, max(lag_one(wall_clock), assumed)),
            "slope": slope(seconds, level, rho),
            "autocorrelation": measured,
            "assumed_autocorrelation": rho,
        }[key]

    return measure


def latent_shares(key: str) -> Measure:
    """Return a function that computes the statistic `key` of the latents' shares of the between-class variance.

    `lowest_class` and `highest_class` are extremes over classes of the sum of the three largest shares of a class.
    `equal` and `random_direction` are this sum for equal latents and a random direction. `latents` counts the latents.
    """

    def measure(evidence: Evidence) -> float:
        table = evidence.results.table("plots/vae/latents.csv", "class", "latent", "share")
        if table.empty:
            raise UnmeasuredError("plots/vae/latents.csv has no classes")
        shares = table.pivot(index="class", columns="latent", values="share").to_numpy()
        latents, resampling = shares.shape[1], evidence.resampling
        strongest = np.sort(shares, axis=1)[:, -STRONGEST:].sum(axis=1)
        return {
            "latents": latents,
            "equal": STRONGEST / latents,
            "random_direction": random_direction_share(latents, resampling.draws, resampling.stream("direction")),
            "lowest_class": float(strongest.min()),
            "highest_class": float(strongest.max()),
        }[key]

    return measure


def random_direction_share(latents: int, draws: int, rng: np.random.Generator) -> float:
    """Return the mean fraction of a random vector's squared length in its STRONGEST (three) largest coordinates."""
    squares = np.sort(np.square(rng.normal(size=(draws, latents))), axis=1)
    return float((squares[:, -STRONGEST:].sum(axis=1) / squares.sum(axis=1)).mean())
