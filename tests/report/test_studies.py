"""The records of the studies agree with each other, and with params.yaml."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

from triptych.report.record import LAST_OF_REPORT
from triptych.studies import METRICS, STUDIES

ROOT = Path(__file__).parents[2]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
FIGURES = [figure for study in STUDIES for figure in study.figures]


def test_each_figure_has_its_own_number_and_name_and_those_of_the_report_have_no_gap():
    numbers = [figure.number for figure in FIGURES if figure.of_report]
    assert numbers == list(range(1, LAST_OF_REPORT + 1))
    assert len({figure.slug for figure in FIGURES}) == len({figure.number for figure in FIGURES}) == len(FIGURES)
    assert [figure.slug for figure in FIGURES if not re.fullmatch(r"\w+", figure.slug)] == []
    last = {study.slug: max(f.number for f in study.figures if f.of_report) for study in STUDIES if study.figures}
    assert last == {"vae": 27, "ddpm": 43, "simsiam": 50}
    assert FIGURES[0].path(Path("plots/figures")) == Path("plots/figures/fig01_vae_wall_clock.png")


def test_a_caption_is_short():
    assert [f.number for f in FIGURES if not f.caption.endswith(".") or len(f.caption.split()) > 45] == []


def test_figures_under_one_heading_stand_together():
    for study in STUDIES:
        groups = [figure.group for figure in study.figures]
        runs = [group for place, group in enumerate(groups) if place == 0 or groups[place - 1] != group]
        assert len(runs) == len(set(runs)), study.slug


def test_a_key_means_the_same_in_every_study():
    for study in STUDIES:
        assert len({metric.key for metric in study.metrics}) == len(study.metrics), study.slug
        for metric in study.metrics:
            assert METRICS[metric.key] == metric, f"{study.slug}: {metric.key}"


def test_headline_keys_are_few_enough_for_one_screen():
    headline = {metric.key for study in STUDIES for metric in study.metrics if metric.headline}
    assert len(headline) <= 10 and {"test_accuracy", "frechet_distance", "knn_accuracy", "seconds_total"} <= headline


def test_every_setting_that_the_page_names_is_a_key_of_params():
    def has(key: str) -> bool:
        value: object = PARAMS
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value is not None

    assert [key for study in STUDIES for key in study.settings if not has(key)] == []


def test_every_variant_of_params_is_a_model_with_its_own_files():
    models = {model.name: model for model in STUDIES[-1].models(PARAMS)}
    assert list(models) == [f"ssl/{name}" for name in PARAMS["ssl"]["variants"]]
    model = models["ssl/no_predictor"]
    assert (model.metrics, model.timing) == ("metrics/ssl/no_predictor.json", "metrics/timing/ssl/no_predictor.json")
    assert (model.trained_by, model.measured_by) == ("ssl@no_predictor", "evaluate_ssl@no_predictor")


def test_neither_studies_nor_report_need_torch_and_the_terminal_needs_nothing_that_is_slow_to_import():
    code = """
import sys
import triptych.page.terminal
slow = {"torch", "pandas", "matplotlib", "scipy", "seaborn"} & set(sys.modules)
import triptych.page.build, triptych.report.claims
from triptych.studies import figures
figures()
print(sorted(slow), "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / "src")
    assert done.stdout == "[] False\n"
