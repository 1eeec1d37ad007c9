"""Functions that claims.yaml calls to compute numbers for the claims about self-supervised encoders.

Most numbers are differences between variants, on the same test images and seeds or at the same training cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from triptych.core.errors import InputError
from triptych.measures.estimate import Estimate, SeedRange
from triptych.report.claims import Condition, Evidence, Fact, Measure, OverSeeds, value
from triptych.report.formatting import POINTS, YES_NO
from triptych.report.reader import Results, UnmeasuredError
from triptych.report.record import METRICS, Metric
from triptych.ssl.words.variants import BASELINES, UNTRAINED, metrics_of, results_path, title, variants

if TYPE_CHECKING:  # slow to import; the terminal only needs the texts of claims
    import pandas as pd

KNN = "knn_accuracy"


def accuracies(*terms: tuple[int, str, str]) -> Measure:
    """Return a function that computes a signed sum of accuracies on the same test images and seeds.

    Each term is (sign, variant, classifier). The classifier is `knn`, `linear`, or a baseline such as `pixel_knn`.
    """

    def measure(evidence: Evidence) -> OverSeeds:
        for _, name, _ in terms:
            metrics_of(evidence.results, name)
        hits = [_correct(evidence.results, name, classifier) for _, name, classifier in terms]
        for (_, name, _), correct in zip(terms, hits, strict=True):
            if correct.shape[1] != hits[0].shape[1]:
                raise InputError(
                    f"{results_path(name)}: has results for {correct.shape[1]} images, but "
                    f"{results_path(terms[0][1])} has results for {hits[0].shape[1]}; rerun evaluate_ssl"
                )
        seeds = min(map(len, hits))
        signs = [sign for sign, _, _ in terms]
        values = sum(sign * correct[:seeds].astype(np.float64) for sign, correct in zip(signs, hits, strict=True))
        estimate = evidence.resampling.seeded(values)
        return OverSeeds(estimate.value, estimate.low, estimate.high, values, evidence.resampling.level)

    return measure


def _correct(results: Results, name: str, classifier: str) -> np.ndarray:  # boolean (seeds, images)
    arrays, key = results.arrays(results_path(name)), f"{classifier}_correct"
    if key not in arrays:
        results.metrics(f"ssl/{name}").number(KNN)  # raises an error with the reason, such as missing labels
        raise UnmeasuredError(f"{results_path(name)} has no {key}")
    return arrays[key]


def knn_difference(one: str, other: str) -> Measure:
    """Return a function that computes the kNN accuracy of variant `one` minus the accuracy of `other`."""
    return accuracies((1, one, "knn"), (-1, other, "knn"))


def above_baseline(name: str, baseline: str) -> Measure:
    """Return a function that computes the kNN accuracy of variant `name` minus the accuracy of `baseline`."""
    return accuracies((1, name, "knn"), (-1, name, f"{baseline}_knn"))


def lowest_margin(*names: str) -> Measure:
    """Return a function that computes the smallest margin in kNN accuracy of a variant in `names` over a baseline."""
    margins = [above_baseline(name, baseline) for name in names for baseline in BASELINES]
    return lambda evidence: min((margin(evidence) for margin in margins), key=lambda estimate: estimate.value)


def each_seed(name: str, key: str, minus: str = "") -> Measure:
    """Return a function that computes the mean and range over seeds of the metric `key` of the variant `name`.

    If `minus` is given, the metric of the variant `minus` is subtracted for each seed.
    """

    def measure(evidence: Evidence) -> SeedRange:
        values = _each_seed(evidence, name, key)
        if minus:
            values = [one - other for one, other in zip(values, _each_seed(evidence, minus, key), strict=False)]
        return SeedRange(sum(values) / len(values), min(values), max(values))

    return measure


def _each_seed(evidence: Evidence, name: str, key: str) -> list[float]:
    metrics = metrics_of(evidence.results, name)
    if key in metrics.left_out:
        raise metrics.missing(key)
    values = [seed.number(key) for seed in metrics.rows("seeds")]
    if not values:
        raise UnmeasuredError(f"{metrics.path} has no per-seed values of {key}")
    return values


def first_measured(*measures: Measure) -> Measure:
    """Return a function that computes the first of `measures` whose metrics are in the results."""

    def measure(evidence: Evidence) -> Estimate:
        for each in measures[:-1]:
            try:
                return each(evidence)
            except UnmeasuredError:
                continue
        return measures[-1](evidence)

    return measure


def bound(side: str, of: Measure) -> Measure:
    """Return a function that computes one bound of the measure `of`. `side` is "low" or "high"."""
    return lambda evidence: getattr(of(evidence), side)


def at_equal(one: str, other: str, cost: str) -> Measure:
    """Return a function that computes the kNN accuracy of `one` minus the accuracy of `other` at equal training cost.

    `cost` is "images" or "seconds". For each seed, both accuracies are interpolated linearly at the smaller of the two
    final costs. The interval covers the variation over seeds, but not the variation over test images.
    """

    def measure(evidence: Evidence) -> Estimate:
        from triptych.measures.intervals import mean

        courses = [spent_course(evidence.results, name) for name in (one, other)]
        common = sorted(set(courses[0]["seed"]) & set(courses[1]["seed"]))
        if not common:
            raise UnmeasuredError(f"plots/ssl/{one}_course.csv and plots/ssl/{other}_course.csv have no seed in common")
        differences = []
        for seed in common:
            first, second = (course[course["seed"] == seed] for course in courses)
            end = min(first[cost].max(), second[cost].max())
            reached = [np.interp(end, rows[cost], rows[KNN]) for rows in (first, second)]
            differences.append(reached[0] - reached[1])
        return mean(np.array(differences), evidence.resampling.level)

    return measure


def spent_course(results: Results, name: str) -> pd.DataFrame:
    """Return a table of kNN accuracy, images seen and seconds of training, with one row per snapshot and seed."""
    path = f"plots/ssl/{name}_course.csv"
    course = results.table(path, "epoch", "seed")
    if KNN not in course:
        if results.has(f"metrics/ssl/{name}.json"):
            raise results.metrics(f"ssl/{name}").missing(KNN)
        raise UnmeasuredError(f"{path} has no {KNN}")
    seen = results.table(f"plots/ssl/{name}_training.csv", "epoch", "seed", "images")[["epoch", "seed", "images"]]
    times = results.table(f"plots/ssl/{name}_timing.csv", "epoch", "seed", "seconds").sort_values(["seed", "epoch"])
    times = times.assign(seconds=times.groupby("seed")["seconds"].cumsum())[["epoch", "seed", "seconds"]]
    rows = course[["epoch", "seed", KNN]].merge(seen, on=["epoch", "seed"]).merge(times, on=["epoch", "seed"])
    return rows.sort_values(["seed", "epoch"], ignore_index=True)


def learns(name: str) -> list[Condition]:
    """Return one condition per baseline: the variant's kNN accuracy is higher by more than `ssl.knn_drop`."""
    named = BASELINES | {UNTRAINED: "an untrained encoder"}
    return [
        Condition(
            f"{name}-above-{baseline}",
            f"{title(name)} has a kNN accuracy more than {{size}} above that of {described}",
            *(above_baseline(name, baseline), "above", "ssl.knn_drop", POINTS),
        )
        for baseline, described in named.items()
    ]


def stable(name: str) -> list[Condition]:
    """Return a list with one condition: no training seed of the variant `name` collapses."""
    statement = f"No seed of {title(name)} collapses"
    measure = each_seed(name, "collapsed")
    return [Condition(f"{name}-stable", statement, measure, "below", 0.5, ".0%", 1.0, "all seeds collapse")]


def projector_dim(name: str) -> Measure:
    """Return a function that reads the output width of the projector of the variant `name`."""
    return lambda evidence: variants(evidence.results.params)[name].dim


def count_seeds(name: str) -> Measure:
    """Return a function that counts the training seeds of the variant `name`."""
    return lambda evidence: len(metrics_of(evidence.results, name).rows("seeds"))


def over_common_seeds(name: str, key: str, names: Sequence[str]) -> Measure:
    """Return a function that averages the metric `key` of variant `name` over the seeds that all `names` share.

    Differences between these means equal the reported differences, which use the same seeds.
    """

    def measure(evidence: Evidence) -> float:
        values = [_each_seed(evidence, each, key) for each in (name, *names)]
        return float(np.mean(values[0][: min(map(len, values))]))

    return measure


def facts_of(names: Sequence[str], keys: Sequence[str]) -> list[Fact]:
    """Return one fact, a number reported with a claim, per variant in `names` and metric in `keys`.

    The key of a fact is `<name>_<key>`. The metric `seeds` is the number of training seeds. kNN accuracies are means
    over the seeds that all variants share.
    """
    facts = []
    for name, key in product(names, keys):
        metric = METRICS.get(key, Metric(key, key, format=".0f"))
        measure = count_seeds(name) if key == "seeds" else value(f"ssl/{name}", key)
        measure = over_common_seeds(name, key, names) if key == KNN else measure
        form = YES_NO if key == "collapsed" else metric.format
        facts.append(Fact(f"{name}_{key}", measure, form, f"{title(name)}: {metric.name}"))
    return facts


# The functions that claims.yaml may call.
FUNCTIONS = (
    *(accuracies, knn_difference, lowest_margin, each_seed, first_measured, bound, at_equal, projector_dim),
    *(learns, stable, facts_of),
)
