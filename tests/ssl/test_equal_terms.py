"""Encoders are compared where they have cost the same."""

from pathlib import Path

import pandas as pd
import pytest

from triptych.measures.intervals import Resampling
from triptych.report.claims import Evidence
from triptych.report.reader import Results, UnmeasuredError
from triptych.ssl.words.compared import at_equal, spent_course


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    return Evidence(Results(tmp_path), Resampling(seed=0, level=0.95, draws=100, owner="claims"), thresholds=None)


def write(root: Path, name: str, seconds: list[float], images: int, courses: list[list[float]], labelled: bool = True):
    """A variant of three epochs, watched after the first and the third; by seed, seconds an epoch and accuracies."""
    folder = root / "plots/ssl"
    folder.mkdir(parents=True, exist_ok=True)
    seeds, epochs = range(len(seconds)), (1, 2, 3)
    training = [{"epoch": e, "seed": s, "images": images * e} for s in seeds for e in epochs]
    timing = [{"epoch": e, "seed": s, "seconds": seconds[s]} for e in reversed(epochs) for s in seeds]
    course = [{"epoch": e, "seed": s, "knn_accuracy": courses[s][n]} for s in seeds for n, e in enumerate((1, 3))]
    course = pd.DataFrame(course) if labelled else pd.DataFrame(course).drop(columns="knn_accuracy")
    for table, rows in (("training", pd.DataFrame(training)), ("timing", pd.DataFrame(timing)), ("course", course)):
        rows.to_csv(folder / f"{name}_{table}.csv", index=False)


def test_a_course_knows_what_each_seed_had_cost_when_it_was_measured(tmp_path: Path):
    write(tmp_path, "one", [10.0, 20.0], 500, [[0.1, 0.5], [0.2, 0.6]])
    course = spent_course(Results(tmp_path), "one")
    assert course[["seed", "epoch", "images", "seconds", "knn_accuracy"]].to_numpy().tolist() == [
        [0, 1, 500, 10, 0.1],
        [0, 3, 1500, 30, 0.5],
        [1, 1, 500, 20, 0.2],
        [1, 3, 1500, 60, 0.6],
    ]


def test_each_seed_is_compared_where_the_cheaper_of_its_two_courses_ends(tmp_path: Path, evidence: Evidence):
    write(tmp_path, "slow", [20.0, 10.0], 500, [[0.1, 0.5], [0.1, 0.5]])
    write(tmp_path, "fast", [10.0, 40.0], 500, [[0.2, 0.4], [0.2, 0.4]])
    # Seed 0: at 30 s the slow one is a quarter of the way from 20 to 60 s. Seed 1: at 30 s the "fast" one has not got
    # to its first measurement, and counts as there.
    found = at_equal("slow", "fast", "seconds")(evidence)
    assert found.value == pytest.approx((0.2 - 0.4 + 0.5 - 0.2) / 2)
    assert found.low < found.value < found.high
    assert at_equal("fast", "slow", "seconds")(evidence).value == pytest.approx(-found.value)


def test_at_equal_images_a_longer_training_is_cut_and_further_seeds_count_for_nothing(
    tmp_path: Path, evidence: Evidence
):
    write(tmp_path, "long", [9.0, 9.0, 9.0], 1000, [[0.1, 0.5], [0.1, 0.5], [0.9, 0.9]])
    write(tmp_path, "short", [9.0, 9.0], 500, [[0.1, 0.3], [0.1, 0.3]])
    found = at_equal("long", "short", "images")(evidence)
    assert (found.value, found.low, found.high) == pytest.approx((0.2 - 0.3,) * 3)  # 1,500 of 1,000 to 3,000 images


def test_without_labels_there_is_nothing_to_compare(tmp_path: Path, evidence: Evidence):
    write(tmp_path, "one", [9.0], 500, [[0.1, 0.5]], labelled=False)
    with pytest.raises(UnmeasuredError, match=r"plots/ssl/one_course.csv has no knn_accuracy"):
        at_equal("one", "one", "images")(evidence)
