"""The model of the pipeline's time on other numbers of cores, in small cases that are solved by hand."""

import pytest
from cores import DVC_SECONDS, Work, wall_clock

CHAIN = {"a": Work(set(), 10.0, 1), "b": Work({"a"}, 20.0, 4), "c": Work({"a", "b"}, 5.0, 1)}
APART = {name: Work(set(), 10.0, 1) for name in "abcd"}


def overhead(stages: int) -> float:
    return stages * DVC_SECONDS


def test_a_chain_takes_the_sum_of_its_stages_whatever_the_jobs():
    assert wall_clock(CHAIN, cores=1, jobs=1) == pytest.approx(35 + overhead(3))
    assert wall_clock(CHAIN, cores=4, jobs=1) == pytest.approx(10 + 20 / 4 + 5 + overhead(3))
    # With two jobs a stage may use half of the cores only.
    assert wall_clock(CHAIN, cores=4, jobs=2) == pytest.approx(10 + 20 / 2 + 5 + overhead(3))


@pytest.mark.parametrize(("cores", "jobs", "rounds"), [(1, 1, 4), (2, 2, 2), (4, 4, 1), (4, 2, 2), (1, 4, 4)])
def test_independent_stages_share_the_cores(cores, jobs, rounds):
    assert wall_clock(APART, cores, jobs) == pytest.approx(rounds * (10 + DVC_SECONDS))


def test_workers_take_cores_from_the_stages_next_to_them():
    stages = {"shared": Work(set(), 20.0, 2, workers=2), "alone": Work(set(), 10.0, 1)}
    # Three processes on two cores, until all 30 core-seconds and the constants are done.
    assert wall_clock(stages, cores=2, jobs=2) == pytest.approx((30 + 3 * DVC_SECONDS) / 2, rel=0.1)
    assert wall_clock(stages, cores=3, jobs=2) == pytest.approx(10 + DVC_SECONDS)


def test_the_longest_path_starts_first():
    stages = {"short": Work(set(), 1.0, 1), "long": Work(set(), 10.0, 1), "last": Work({"long"}, 10.0, 1)}
    assert wall_clock(stages, cores=2, jobs=2) == pytest.approx(20 + 2 * DVC_SECONDS)
    assert wall_clock(stages, cores=1, jobs=1) == pytest.approx(21 + 3 * DVC_SECONDS)
