"""Metrics of the DDPM study for a tiny model: complete, inside their intervals, and reproducible."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_generative import CPU, dataset, evaluation, inputs, judge, place, save_ddpm, weaken

from triptych.ddpm import sample
from triptych.ddpm.measure import COST_COLUMNS, GUIDANCE_COLUMNS, DDPMMeasures, restoration_table
from triptych.ddpm.objective import load_trained
from triptych.measures.distributions import FrechetReference
from triptych.measures.estimate import Estimate, split
from triptych.measures.similarity import psnr

pytestmark = pytest.mark.usefixtures("one_thread")


def measures(folder: Path, dtype: torch.dtype = torch.float32) -> DDPMMeasures:
    files = weaken(save_ddpm(folder))
    drawn = files.arrays(sample, machine=place(dtype))
    return DDPMMeasures(method=load_trained(files.model, CPU), **inputs(judge(), dataset(), drawn))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("ddpm")


@pytest.fixture(scope="module")
def study(folder) -> DDPMMeasures:
    return measures(folder)


@pytest.fixture(scope="module")
def numbers(study) -> dict:
    return study.numbers()


def test_every_metric_is_inside_its_interval_and_reproducible(study, numbers, folder):
    estimates = {key: number for key, number in numbers.items() if isinstance(number, Estimate)}
    assert set(estimates) == {
        "vlb_bpd", "frechet_distance", "recognisability", "sharpness_ratio", "precision", "recall", "half_restored_t",
    }  # fmt: skip
    assert all(number.low <= number.value <= number.high for number in estimates.values())
    guided = numbers["guided"]
    of_samples = set(estimates) - {"vlb_bpd", "half_restored_t"}
    assert {key for key in guided if isinstance(guided[key], Estimate)} == of_samples
    assert all(guided[key].low <= guided[key].value <= guided[key].high for key in of_samples)
    assert (guided["weight"], guided["epoch"]) == (2.0, 1)
    for images, measured in ((study.drawn["guided"], guided), (study.drawn["samples"], numbers)):
        distance = FrechetReference(study.real.test.features).distance(study.judge(images).features)
        assert measured["frechet_distance"].value == pytest.approx(distance, rel=1e-6)
    assert sum(numbers["vlb_parts_bpd"].values()) == pytest.approx(numbers["vlb_bpd"].value)
    assert isinstance(numbers["half_restored_reached"], bool) and numbers["half_restored_t"].value > 0
    again = measures(folder)
    assert split(again.numbers()) == split(numbers)
    assert again.sampling().equals(study.sampling())
    assert again.guidance().equals(study.guidance())


def test_restoration_has_a_row_per_time_and_a_table_line_per_estimate(study, numbers):
    rows = numbers["restoration"]
    assert [row["t"] for row in rows] == [30, 120, 500]
    assert [row["sigma"] for row in rows] == study.drawn["restoration_sigmas"].tolist()
    expected = psnr(np.array(dataset().test.images[:20]), study.drawn["restored"][1]).mean()
    assert rows[1]["psnr"].value == pytest.approx(expected)
    assert len(restoration_table(rows)) == 9


def test_the_cost_table_has_a_row_for_each_sampler_and_number_of_steps(study):
    table = study.sampling()
    assert tuple(table) == COST_COLUMNS
    assert table[["sampler", "steps", "evaluations", "samples"]].values.tolist() == [
        ["ddim", 2, 2, 20],
        ["heun", 2, 2, 20],  # from unlimited noise to zero noise: neither step is of second order
    ]
    assert (table["low"] <= table["frechet_distance"]).all() and (table["frechet_distance"] <= table["high"]).all()


def test_the_guidance_table_has_each_guide_and_weight_also_without_guidance(study):
    table = study.guidance()
    assert tuple(table) == GUIDANCE_COLUMNS
    points = [[epoch, weight, 20] for epoch in (1, 5) for weight in (1.0, 1.5, 2.0)]
    assert table[["epoch", "weight", "samples"]].values.tolist() == points
    without = table[table["weight"] == 1].drop(columns="epoch")
    assert without.iloc[0].equals(without.iloc[1])
    first = judge()(study.drawn["samples"][:20])
    assert without.iloc[0]["recognisability"] == first.recognised(evaluation().recognition_threshold).mean()
    real = judge()(dataset().test.images).features
    images = [study.drawn["samples"][:20], *study.drawn["compared"][:2]] + [
        study.drawn["samples"][:20],
        *study.drawn["compared"][2:],
    ]
    distances = [FrechetReference(real).distance(judge()(of_row).features) for of_row in images]
    assert table["frechet_distance"].to_numpy() == pytest.approx(distances)
    assert len({round(distance, 6) for distance in distances[:3]}) == 3, "guidance by epoch 1 changes the distance"
    for value, low, high in (GUIDANCE_COLUMNS[3:6], GUIDANCE_COLUMNS[6:]):
        assert (table[low] <= table[value]).all() and (table[value] <= table[high]).all()


def test_probabilities_are_of_the_first_samples_and_of_the_ends_of_the_strips(study):
    result = study.probabilities()
    assert list(result) == ["final_probabilities", "strip_probabilities", "strip_times", "classes"]
    end = judge()(study.drawn["strip_backward"][1, -1:]).probabilities
    np.testing.assert_allclose(result["strip_probabilities"][result["strip_times"] == 120], end, rtol=1e-5)
    assert result["final_probabilities"].shape == (5, 10) and result["classes"].tolist() == dataset().classes


def test_precision_of_sampling_changes_metrics_of_samples_slightly_and_not_the_bound(numbers, tmp_path):
    half = measures(tmp_path, torch.bfloat16).numbers()
    assert half["vlb_bpd"] == numbers["vlb_bpd"]
    for of in (lambda result: result["restoration"][1]["psnr"].value, lambda result: result["frechet_distance"].value):
        assert of(half) != of(numbers)
        assert of(half) == pytest.approx(of(numbers), rel=0.05)
