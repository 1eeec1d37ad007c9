"""The study of the VAE, and the numbers of its claims that need code."""

from pathlib import Path

import numpy as np

from triptych.measures.estimate import Estimate
from triptych.report.claims import Evidence, Measure, read_claims
from triptych.report.metrics import metrics
from triptych.report.reader import UnmeasuredError
from triptych.report.record import Model, Study
from triptych.vae.words.figures import FIGURES, STRONGEST


def epoch_times(key: str) -> Measure:
    """Return the measure of one number about the seconds per epoch."""
    return lambda evidence: _epoch_times(evidence)[key]


def _epoch_times(evidence: Evidence) -> dict[str, Estimate | float]:
    """Return the spread of the seconds per epoch around their mean, and what explains it.

    CPU time where the CPU trains, because other work on the machine lengthens an epoch's wall-clock time and hardly its
    CPU time; wall-clock time on other devices.
    """
    from triptych.measures.autocorrelated import lag_one, relative_spread, slope

    table = evidence.results.table("plots/vae/timing.csv", "seconds", "cpu_seconds")
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
        "count": len(seconds),
        "on_cpu": on_cpu,
        "mean": float(seconds.mean()),
        "fastest": float(seconds.min()),
        "slowest": float(seconds.max()),
        "wall_clock_spread": relative_spread(wall_clock, level, max(lag_one(wall_clock), supposed)),
        "slope": slope(seconds, level, rho),
        "autocorrelation": measured,
        "assumed_autocorrelation": rho,
    }


def latent_shares(key: str) -> Measure:
    """Return the measure of one number about the share of each latent in the between-class variance."""
    return lambda evidence: _latent_shares(evidence)[key]


def _latent_shares(evidence: Evidence) -> dict[str, float]:
    table = evidence.results.table("plots/vae/latents.csv", "class", "latent", "share")
    if table.empty:
        raise UnmeasuredError("plots/vae/latents.csv has no classes")
    shares = table.pivot(index="class", columns="latent", values="share").to_numpy()
    latents, resampling = shares.shape[1], evidence.resampling
    of_class = np.sort(shares, axis=1)[:, -STRONGEST:].sum(axis=1)
    return {
        "latents": latents,
        "equal": STRONGEST / latents,
        "random_direction": random_direction_share(latents, resampling.draws, resampling.stream("direction")),
        "lowest_class": float(of_class.min()),
        "highest_class": float(of_class.max()),
    }


def random_direction_share(latents: int, draws: int, rng: np.random.Generator) -> float:
    """Return the mean share of the STRONGEST strongest coordinates in the squared length of a random direction."""
    squares = np.sort(np.square(rng.normal(size=(draws, latents))), axis=1)
    return float((squares[:, -STRONGEST:].sum(axis=1) / squares.sum(axis=1)).mean())


STUDY = Study(
    slug="vae",
    short="VAE",
    title="Variational autoencoder",
    question="A network squeezes each image into a few numbers, its latents, and rebuilds it from them. Latents drawn "
    "from a normal distribution, the prior, give new images. What do latents keep, and what do such images look like?",
    models=lambda params: [Model("vae", "VAE", "vae", "evaluate_vae")],
    metrics=metrics("vae", "samples", "fitted_prior", "timing"),
    claims=read_claims(Path(__file__).with_name("claims.yaml"), epoch_times, latent_shares),
    figures=FIGURES,
    tables={"plots/vae/training.csv": "vae", "plots/vae/timing.csv": "vae", "plots/vae/latents.csv": "evaluate_vae"},
    settings={
        "vae.network.latents": "VAE: latents",
        "vae.likelihood_sigma": "VAE: σ of p(x|z)",
        "vae.training.epochs": "VAE: epochs",
        "vae.training.batch_size": "VAE: batch size",
        "vae.training.optimiser.learning_rate": "VAE: learning rate",
        "evaluation.vae.importance_samples": "VAE: importance samples K",
    },
    remark=lambda params: (
        "The VAE was trained once, with one seed. The intervals behind its verdicts are over images "
        "or epochs, so they do not say how far another training would differ."
    ),
)
