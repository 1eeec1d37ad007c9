"""Compare encoders at equal cost: kNN accuracy over the images seen and the seconds of training."""

from typing import TYPE_CHECKING

import numpy as np

from triptych.measures.estimate import Estimate
from triptych.report.reader import Results, UnmeasuredError
from triptych.ssl.words.variants import metrics_path

if TYPE_CHECKING:  # slow to import; the terminal only needs the texts of claims
    import pandas as pd

KNN = "knn_accuracy"


def spent_course(results: Results, name: str) -> "pd.DataFrame":
    """Return kNN accuracy and cost for each measured epoch of each seed.

    Columns: epoch, seed, knn_accuracy; images seen so far; seconds of this seed's training so far, without evaluations.

    Raises:
        UnmeasuredError: no accuracy was measured.
        InputError: a file is missing, or lacks a column.
    """
    path = f"plots/ssl/{name}_course.csv"
    course = results.table(path, "epoch", "seed")
    if KNN not in course:
        if results.has(metrics_path(name)):
            raise results.metrics(f"ssl/{name}").missing(KNN)
        raise UnmeasuredError(f"{path} has no {KNN}")
    seen = results.table(f"plots/ssl/{name}_training.csv", "epoch", "seed", "images")[["epoch", "seed", "images"]]
    times = results.table(f"plots/ssl/{name}_timing.csv", "epoch", "seed", "seconds").sort_values(["seed", "epoch"])
    times = times.assign(seconds=times.groupby("seed")["seconds"].cumsum())[["epoch", "seed", "seconds"]]
    rows = course[["epoch", "seed", KNN]].merge(seen, on=["epoch", "seed"]).merge(times, on=["epoch", "seed"])
    return rows.sort_values(["seed", "epoch"], ignore_index=True)


def at_equal(results: Results, level: float, one: str, other: str, what: str) -> Estimate:
    """Return the kNN accuracy of one variant minus that of another at equal cost, over the seeds that both have.

    Both are read where the cheaper of the two ends, by linear interpolation between measured epochs. The interval is
    over seeds alone, which share the test images. `what` is the cost: `images` or `seconds`.

    Raises:
        UnmeasuredError, InputError: see `spent_course`.
    """
    courses = [spent_course(results, name) for name in (one, other)]
    common = sorted(set(courses[0]["seed"]) & set(courses[1]["seed"]))
    if not common:
        raise UnmeasuredError(f"plots/ssl/{one}_course.csv and plots/ssl/{other}_course.csv have no seed in common")
    differences = []
    for seed in common:
        first, second = (course[course["seed"] == seed] for course in courses)
        end = min(first[what].max(), second[what].max())
        reached = [np.interp(end, rows[what], rows[KNN]) for rows in (first, second)]
        differences.append(reached[0] - reached[1])
    from triptych.measures.intervals import mean

    return mean(np.array(differences), level)
