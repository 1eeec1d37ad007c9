"""What the claims are decided from: the measured numbers of all studies, read from their files."""

import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from triptych.core.errors import InputError
from triptych.ssl.shared.params import SimSiamVariant
from triptych.statistics.intervals import generator, seeded_interval

VAE, DDPM = "metrics/vae.json", "metrics/ddpm.json"
VAE_SECONDS, VAE_LATENTS = "plots/vae/timing.csv", "plots/vae/latents.csv"


class UnmeasuredError(Exception):
    """A number that a claim needs does not exist. The message is a clause that says which."""


@dataclass(frozen=True)
class Estimate:
    """A number and the interval that it lies in."""

    value: float
    low: float
    high: float

    def above(self, threshold: float) -> bool | None:
        """Whether it is above the threshold; None if the interval holds both answers."""
        if self.low > threshold:
            return True
        return False if self.high <= threshold else None

    def below(self, threshold: float) -> bool | None:
        """Whether it is below the threshold; None if the interval holds both answers."""
        if self.high < threshold:
            return True
        return False if self.low >= threshold else None

    def within(self, margin: float) -> bool | None:
        """Whether it is less than a margin away from zero; None if the interval holds both answers."""
        if -margin < self.low and self.high < margin:
            return True
        return False if self.high <= -margin or margin <= self.low else None

    @property
    def interval(self) -> dict[str, float]:
        return {"low": self.low, "high": self.high}

    def flat(self, name: str) -> dict[str, float]:
        """The three numbers under names of their own."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}


@dataclass(frozen=True)
class Metrics:
    """The numbers of a metrics file, or of a row of a table in it."""

    path: str
    values: Mapping

    def number(self, key: str) -> float:
        """A number.

        Raises:
            UnmeasuredError: the file does not hold it.
        """
        if self.values.get(key) is None:
            raise UnmeasuredError(f"{self.path} holds no {key}, as on images without labels")
        return float(self.values[key])

    def estimate(self, key: str) -> Estimate:
        """A number with its interval.

        Raises:
            UnmeasuredError: the file does not hold both.
        """
        value, interval = self.number(key), self.values.get("intervals", {}).get(key)
        if interval is None:
            raise UnmeasuredError(f"{self.path} holds no interval of {key}")
        return Estimate(value, interval["low"], interval["high"])

    def rows(self, key: str) -> list["Metrics"]:
        """A table in the file."""
        return [Metrics(self.path, row) for row in self.values.get(key, [])]


@dataclass(frozen=True)
class Variant:
    """One entry of ssl.variants after training.

    Attributes:
        knn_correct: (seeds, test images) whether the nearest neighbours name the class; None without labels.
    """

    projector_dim: int
    metrics: Metrics
    knn_correct: np.ndarray | None


@dataclass(frozen=True)
class Resampling:
    """How intervals that no metrics file holds are made."""

    seed: int
    level: float
    draws: int

    def stream(self, purpose: str) -> np.random.Generator:
        """The random numbers of one statistic."""
        return generator(self.seed, f"claims {purpose}")


@dataclass(frozen=True)
class Evidence:
    """Everything that was measured.

    Attributes:
        vae_seconds: (epochs,) of the VAE's training.
        vae_latents: class, latent, share: how much of a class's distance from the mean image each latent holds.
        variants: those that ssl.variants holds, by name.
    """

    vae: Metrics
    ddpm: Metrics
    vae_seconds: np.ndarray
    vae_latents: pd.DataFrame
    variants: Mapping[str, Variant]
    resampling: Resampling

    def knn_difference(self, one: str, other: str) -> Estimate:
        """kNN accuracy of one variant minus that of another, on the same test images and seeds.

        Raises:
            UnmeasuredError: there are no labels to be right about.
            InputError: the two were not measured on the same images and seeds.
        """
        found = {name: self.variants[name].knn_correct for name in (one, other)}
        for name, correct in found.items():
            if correct is None:
                raise UnmeasuredError(f"{ssl_results(name)} holds no knn_correct, as on images without labels")
        if found[one].shape != found[other].shape:
            raise InputError(
                f"{ssl_results(one)}: its (seeds, images) {found[one].shape} differ from the {found[other].shape} of "
                f"{ssl_results(other)}; run evaluate_ssl again"
            )
        paired = found[one].astype(np.float64) - found[other]
        resampling = self.resampling
        interval = seeded_interval(paired, resampling.level, resampling.draws, resampling.stream(f"{one} {other}"))
        return Estimate(float(paired.mean()), interval["low"], interval["high"])


def ssl_metrics(variant: str) -> str:
    """The metrics file of a variant."""
    return f"metrics/ssl/{variant}.json"


def ssl_results(variant: str) -> str:
    """The file that says which test images a variant got right."""
    return f"evaluations/ssl/{variant}/results.npz"


def read_evidence(variants: Mapping[str, SimSiamVariant], resampling: Resampling) -> Evidence:
    """Reads all that was measured; the variants are those of ssl.variants.

    Raises:
        InputError: a file is missing or damaged.
    """
    return Evidence(
        vae=_metrics(VAE),
        ddpm=_metrics(DDPM),
        vae_seconds=_table(VAE_SECONDS, "seconds")["seconds"].to_numpy(),
        vae_latents=_table(VAE_LATENTS, "class", "latent", "share"),
        variants={
            name: Variant(variant.projector_dim, _metrics(ssl_metrics(name)), _knn_correct(ssl_results(name)))
            for name, variant in variants.items()
        },
        resampling=resampling,
    )


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Turns what can be wrong with a file into one line."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the stage that writes it first") from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read ({reason}); run the stage that writes it again") from None


def _metrics(path: str) -> Metrics:
    with _named(path):
        values = json.loads(Path(path).read_text())
        if not isinstance(values, dict):
            raise ValueError("expected a mapping of numbers")
    return Metrics(path, values)


def _table(path: str, *columns: str) -> pd.DataFrame:
    with _named(path):
        return pd.read_csv(path, usecols=list(columns))


def _knn_correct(path: str) -> np.ndarray | None:
    with _named(path), np.load(path) as arrays:
        return arrays.get("knn_correct")
