"""Functions that claims.yaml calls to compute numbers for the claims about the VAE."""

import numpy as np

from triptych.measures.estimate import Estimate
from triptych.report.claims import Evidence, Measure
from triptych.report.reader import UnmeasuredError
from triptych.vae.words.figures import STRONGEST


def epoch_times(key: str) -> Measure:
    """Return a function that computes the statistic `key` (such as `mean` or `slope`) of the time per training epoch.

    For training on the CPU, the time is CPU time, which other processes hardly affect. Otherwise it is wall-clock time.
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
    """Return a function that sums the shares of the three strongest latents of a class, or computes a reference value.

    A latent's share is its fraction of the squared distance between the class mean and the mean of all images. `key`
    selects the lowest sum of any class (`lowest_class`), the highest (`highest_class`), the sum for equal shares
    (`equal`) or in a random direction (`random_direction`), or the number of latents (`latents`).
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
    """Return the share of the three largest squares in the squared length of random vectors, averaged over `draws`."""
    squares = np.sort(np.square(rng.normal(size=(draws, latents))), axis=1)
    return float((squares[:, -STRONGEST:].sum(axis=1) / squares.sum(axis=1)).mean())
