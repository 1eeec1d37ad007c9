"""Benchmarks that run whole stages match the pipeline and its params."""

from pathlib import Path

import growth
import in_use
import numpy as np
import pandas as pd
import pytest
import yaml
from pages import read_section, write_section

from triptych.cli.profiles import merged
from triptych.core.errors import InputError
from triptych.core.schema import read_yaml, validate
from triptych.params import validated
from triptych.report.reader import value_at

ROOT = Path(__file__).parents[2]
PARAMS = ROOT / "params.yaml"
SETTINGS = validate(growth.Settings, read_yaml(growth.SETTINGS), "", growth.SETTINGS)


@pytest.fixture
def tree() -> dict:
    return merged("full", ROOT)


def test_growth_has_valid_params_at_every_multiple(tree):
    for multiple in (SETTINGS.start, *SETTINGS.multiples):
        params = growth.params_at(multiple, tree, SETTINGS)
        validated(params, PARAMS)
        for key in ("data.generative.train", "data.ssl.test"):
            assert value_at(params, key) == pytest.approx(multiple * value_at(tree, key), abs=0.5)
        assert list(params["ssl"]["variants"]) == SETTINGS.variants


def test_growth_says_in_a_line_what_a_profile_lacks(tree):
    tree["ssl"]["variants"].pop(SETTINGS.variants[-1])
    with pytest.raises(InputError, match=f"ssl.variants.{SETTINGS.variants[-1]}"):
        growth.params_at(1, tree, SETTINGS)


def test_growth_measures_every_stage_of_the_pipeline():
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    measured = growth.stages(SETTINGS.variants)
    assert {stage.name.split("@")[0] for stage in measured} == set(pipeline)
    assert all((ROOT / "stages" / f"{stage.script}.py").is_file() for stage in measured)


@pytest.mark.parametrize("power", [1, 2])
def test_the_exponent_of_a_power_law_behind_a_start(power):
    multiples = np.array([0.0625, 1, 2, 4, 8])
    seconds = 3 + 5 * multiples**power
    rows = pd.DataFrame(
        {
            "stage": "a",
            "multiple": multiples,
            "images": 1600 * multiples,
            "seconds": seconds,
            "cpu_seconds": seconds,
            "peak_mib": 100 + 16 * multiples,
        }
    )
    found = growth.by_stage(rows)["a"]
    # Start-up time is constant, so the measured exponent is slightly below 2.
    assert found.exponent("seconds") == pytest.approx(power, abs=0.06)
    assert found.exponent(last=2) == pytest.approx(power, abs=0.06)
    assert found.bytes_per_image == pytest.approx(16 * 2**20 / 1600)


def test_what_takes_a_start_alone_has_no_exponent():
    multiples = [0.0625, 1, 2, 4]
    rows = pd.DataFrame(
        {"stage": "a", "multiple": multiples, "images": multiples, "seconds": 3.0, "cpu_seconds": [3.0, 3.1, 3.0, 3.2]}
    )
    assert growth.by_stage(rows)["a"].exponent() is None


@pytest.mark.parametrize("epochs", [2, 40])
def test_trainings_beside_others_have_valid_params(tree, epochs):
    small = in_use.small(tree)
    for training in in_use.TRAININGS.values():
        params = in_use.overlaid(small, in_use.of_epochs(training, epochs))
        validated(params, PARAMS)
        assert value_at(params, f"{training.section}.training.epochs") == epochs
        assert (ROOT / "stages" / f"{training.script}.py").is_file()


def test_a_section_of_a_page_is_replaced_and_the_rest_stays(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- a:begin; by x -->\nold\n<!-- a:end -->\nafter\n")
    write_section(page, "a", "new\n")
    write_section(page, "b", "other")
    write_section(page, "b", "another")
    assert page.read_text() == (
        "before\n<!-- a:begin; by x -->\nnew\n<!-- a:end -->\nafter\n\n<!-- b:begin -->\nanother\n<!-- b:end -->\n"
    )
    assert [read_section(page, name) for name in "ab"] == ["new", "another"]
    with pytest.raises(ValueError, match="no section c"):
        read_section(page, "c")
