"""Compute the numbers for the claims about the VAE that claims.yaml lists."""

import numpy as np

from triptych.measures.estimate import Estimate
from triptych.report.claims import Evidence, Measure
from triptych.report.reader import UnmeasuredError
from triptych.vae.words.figures import STRONGEST


def epoch_times(key: str) -> Measure:
    """Return a function that computes the statistic `key` (such as `mean` or `slope`) of the time per training epoch.

    Times are CPU seconds for training on a CPU, and wall-clock seconds otherwise. For fewer than three epochs, the
    function raises UnmeasuredError.
    """

    def measure(evidence: Evidence) -> Estimate | float:
        from triptych.measures.autocorrelated import lag_one, relative_spread, slope

        table = evidence.results.table("plots/vae/timing.csv", "seconds", "cpu_seconds")
        timing = evidence.results.timing("vae").values
        on_cpu = timing.get("device") == "cpu"
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
            "stages_at_once": timing.get("stages_at_once", 1),
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
    """Return a function that computes the statistic `key` of the total share of the three strongest latents per class.

    A latent's share is its fraction of the squared distance between the class mean and the mean of all images. `key` is
    - `lowest_class` or `highest_class`: the lowest or highest total of any class;
    - `equal` or `random_direction`: the total if all latents had equal shares, or in a random direction;
    - `latents`: the number of latents.
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
    """Return the fraction of the squared length of a random vector that lies in its three largest components.

    The fraction is averaged over `draws` standard normal vectors with `latents` components.
    """
    squares = np.sort(np.square(rng.normal(size=(draws, latents))), axis=1)
    return float((squares[:, -STRONGEST:].sum(axis=1) / squares.sum(axis=1)).mean())
