"""Numbers that decide claims on encoders: differences between variants on the same test images and seeds."""

from dataclasses import dataclass

import numpy as np

from triptych.core.errors import InputError
from triptych.report.claims import Evidence, Fact, OverSeeds, SeedRange
from triptych.report.formatting import YES_NO
from triptych.report.metrics import METRICS
from triptych.report.reader import Metrics, Results, UnmeasuredError
from triptych.ssl.words.baselines import Baseline
from triptych.ssl.words.variants import results_path, title, variants

KNN = "knn"


def metrics_of(results: Results, *names: str) -> list[Metrics]:
    """Return the metrics of variants.

    Raises:
        UnmeasuredError: params.yaml does not train one of them.
    """
    for name in names:
        if name not in variants(results.params):
            raise UnmeasuredError(f"ssl.variants in params.yaml has no {name}")
    return [results.metrics(f"ssl/{name}") for name in names]


@dataclass(frozen=True)
class Accuracies:
    """A sum of kNN accuracies with signs, paired over test images and over the first seeds that all terms have.

    Attributes:
        purpose: names the stream of resamples behind its interval.
        terms: (sign, variant, classifier), the classifier `knn` or that of a baseline, `pixel_knn`.
    """

    purpose: str
    terms: tuple[tuple[int, str, str], ...]

    def __call__(self, evidence: Evidence) -> OverSeeds:
        metrics_of(evidence.results, *(name for _, name, _ in self.terms))
        first = self.terms[0][1]
        hits = [_correct(evidence.results, name, classifier) for _, name, classifier in self.terms]
        for (_, name, _), correct in zip(self.terms, hits, strict=True):
            if correct.shape[1] != hits[0].shape[1]:
                raise InputError(
                    f"{results_path(name)}: its {correct.shape[1]} images are not the {hits[0].shape[1]} of "
                    f"{results_path(first)}; run evaluate_ssl again"
                )
        seeds = min(map(len, hits))
        values = sum(
            sign * correct[:seeds].astype(np.float64) for (sign, _, _), correct in zip(self.terms, hits, strict=True)
        )
        estimate = evidence.resampling.seeded(values, self.purpose)
        return OverSeeds(estimate.value, estimate.low, estimate.high, values, evidence.resampling.level)


def _correct(results: Results, name: str, classifier: str) -> np.ndarray:
    """Return whether each test image was classified correctly, (seeds, images)."""
    arrays, key = results.arrays(results_path(name)), f"{classifier}_correct"
    if key not in arrays:
        results.metrics(f"ssl/{name}").number("knn_accuracy")  # fails with the reason, such as missing labels
        raise UnmeasuredError(f"{results_path(name)} has no {key}")
    return arrays[key]


def knn_difference(one: str, other: str) -> Accuracies:
    """Return the kNN accuracy of one variant minus that of another."""
    return Accuracies(f"{one} {other}", ((1, one, KNN), (-1, other, KNN)))


def above_baseline(name: str, baseline: Baseline) -> Accuracies:
    """Return the kNN accuracy of a variant minus that of a baseline."""
    return Accuracies(f"{name} {baseline.key}", ((1, name, KNN), (-1, name, f"{baseline.key}_{KNN}")))


@dataclass(frozen=True)
class EachSeed:
    """A number of each seed of a variant, less that of the same seed of another; of a condition, 1 where it holds."""

    name: str
    key: str
    minus: str = ""

    def __call__(self, evidence: Evidence) -> SeedRange:
        values, *others = (
            _each_seed(metrics, self.key)
            for metrics in metrics_of(evidence.results, *filter(None, (self.name, self.minus)))
        )
        if others:
            values = [one - other for one, other in zip(values, others[0], strict=False)]
        return SeedRange(sum(values) / len(values), min(values), max(values))


def _each_seed(metrics: Metrics, key: str) -> list[float]:
    if key in metrics.left_out:
        raise metrics.missing(key)
    values = [row.number(key) for row in metrics.rows("seeds")]
    if not values:
        raise UnmeasuredError(f"{metrics.path} has no {key} per seed")
    return values


def number_of(name: str, key: str, fact: str = "", label: str = "") -> Fact:
    """Return a number of a variant's metrics, under its own key or another name."""
    return Fact(
        fact or key,
        lambda evidence: metrics_of(evidence.results, name)[0].number(key),
        YES_NO if key == "collapsed" else METRICS[key].format,
        label or METRICS[key].name,
    )


def facts_of(name: str, *keys: str, seeds: bool = True) -> list[Fact]:
    """Return numbers of a variant under keys that begin with its name, and its number of seeds."""

    def count(evidence: Evidence) -> int:
        return len(metrics_of(evidence.results, name)[0].rows("seeds"))

    facts = [number_of(name, key, f"{name}_{key}", f"{title(name)}: {METRICS[key].name}") for key in keys]
    return [*facts, *([Fact(f"{name}_seeds", count, ".0f", f"{title(name)}: seeds")] if seeds else [])]
