"""The smoke profile runs every stage through DVC in a fresh clone."""

import json
import math
import os
import re
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import shell
import yaml
from checkouts import check_out
from PIL import Image
from preloaded import programs

from triptych.core.schema import read
from triptych.measures.intervals import Resampling
from triptych.page import build as page
from triptych.page import cards
from triptych.report import drawing
from triptych.report.claims import Evidence, decide
from triptych.report.params import ClaimsParams
from triptych.report.reader import Results, UnmeasuredError
from triptych.studies import CLAIMS, figures

ROOT = Path(__file__).parents[2]
# The report's figures by number, and the sheet of views.
FIGURES = range(1, 51)

pytestmark = pytest.mark.slow

VERDICTS = ("reproduced", "partly reproduced", "not reproduced", "inconclusive", "not measured")


def run(folder: Path, *command: str) -> str:
    """Run a command in a checkout; stages that it runs start in forks of this test's libraries."""
    # The checkout's own code, wherever the package in this environment was installed from.
    environment = os.environ | {"PYTHONPATH": str(folder / "src")}
    return shell.run(folder, *command, environment=environment, programs=folder.parent / "bin")


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Iterator[Path]:
    """Run the smoke profile in a checkout without earlier outputs and yield its folder."""
    folder = tmp_path_factory.mktemp("smoke") / "checkout"
    check_out(folder)
    with programs(folder.parent / "bin", "python", "triptych"):
        run(folder, "triptych", "profile", "use", "smoke", "--force")
        run(folder, "dvc", "repro")
        yield folder


@pytest.fixture(scope="module")
def stages(done) -> dict[str, dict]:
    """Return the stages as DVC wrote them to dvc.lock."""
    return yaml.safe_load((done / "dvc.lock").read_text())["stages"]


def outputs(stages: dict[str, dict]) -> list[str]:
    return [out["path"] for stage in stages.values() for out in stage.get("outs", [])]


@pytest.fixture(scope="module")
def again(done) -> str:
    """Return the output of a second `dvc repro`."""
    return run(done, "dvc", "repro")


def test_every_stage_ran_and_made_its_outputs(done, stages, again):
    assert set(re.findall(r"Stage '(.+?)' didn't change", again)) == set(stages)
    for out in outputs(stages):
        path = done / out
        assert path.exists(), out
        assert path.stat().st_size if path.is_file() else any(path.rglob("*")), out


def test_nothing_is_left_to_do(done, again):
    assert "Running stage" not in again
    assert not list((done / "checkpoints").rglob("*.safetensors"))


def test_git_sees_metrics_plots_and_the_lock_only(done):
    changed = [line[3:] for line in run(done, "git", "status", "--porcelain", "-uall").splitlines()]
    assert [name for name in changed if not name.startswith(("metrics/", "plots/", "dvc.lock", "params.yaml"))] == []


def numbers(value: object) -> Iterator[float]:
    if isinstance(value, dict):
        for part in value.values():
            yield from numbers(part)
    elif isinstance(value, list):
        for part in value:
            yield from numbers(part)
    elif isinstance(value, int | float):
        yield value


def test_every_metric_is_a_finite_number(done, stages):
    written = [done / out for out in outputs(stages) if out.startswith("metrics/")]
    for path in (file for out in written for file in (out.rglob("*.json") if out.is_dir() else [out])):
        found = list(numbers(json.loads(path.read_text())))
        assert found and all(map(math.isfinite, found)), path


def test_every_estimate_lies_near_its_interval(done):
    """An interval of another quantity would miss its estimate by far; rough ones of 20 resamples may miss narrowly."""
    for path in [*(done / "metrics").glob("*.json"), *(done / "metrics/ssl").glob("*.json")]:
        if path.stem == "claims":
            continue  # a list of records: see test_every_claim_has_a_verdict
        metrics = json.loads(path.read_text())
        if path.stem in ("classifier", "vae", "simsiam"):
            assert metrics.get("intervals") or metrics["ranges"]
        intervals = metrics.get("intervals", {}) | metrics.get("ranges", {})
        for key in intervals.keys() & metrics.keys():
            interval = intervals[key]
            slack = interval["high"] - interval["low"] + 1e-9
            assert interval["low"] - slack <= metrics[key] <= interval["high"] + slack, f"{path.stem}: {key}"


def test_every_claim_has_a_verdict(done):
    claims = json.loads((done / "metrics/claims.json").read_text())
    assert len({claim["id"] for claim in claims}) == len(claims) >= 15
    for claim in claims:
        assert claim["verdict"] in VERDICTS and claim["finding"], claim["id"]
        assert (claim["measured"] is None) == ((claim["interval"] or claim["range"]) is None), claim["id"]
        assert (claim["measured"] is None) == (claim["verdict"] == "not measured"), claim["id"]


def test_the_numbers_that_others_read_are_there(done):
    generated = {"frechet_distance", "recognisability", "sharpness_ratio", "precision", "recall"}
    metrics = json.loads((done / "metrics/vae.json").read_text())
    own = {"elbo_bpd", "iwae_bpd", "reconstruction_mse", "active_units", "interpolation_smoothness"}
    assert metrics.keys() >= generated | own
    assert metrics["iwae_bpd"] <= metrics["elbo_bpd"]
    metrics = json.loads((done / "metrics/ddpm.json").read_text())
    assert metrics.keys() >= generated | {"vlb_bpd", "restoration"}
    assert {row["t"] for row in metrics["restoration"]} >= {30, 120}
    assert 0 <= json.loads((done / "metrics/classifier.json").read_text())["test_accuracy"] <= 1
    timing = json.loads((done / "metrics/timing/vae.json").read_text())
    assert timing.keys() >= {"seconds_per_epoch", "seconds_total", "images_per_second", "device", "threads", "torch"}


def test_every_figure_is_there_under_its_number_and_shows_something(done):
    paths = sorted((done / "plots/figures").glob("*.png"))
    names = [re.fullmatch(r"fig(\d\d)_\w+\.png", path.name) for path in paths if path.name != "overview.png"]
    assert all(names) and {int(name[1]) for name in names} >= set(FIGURES)
    assert len(names) == len(paths) - 1, "the picture at the head of the README is missing"
    assert len({name[1] for name in names}) == len(names)
    for path in paths:
        with Image.open(path) as image:
            assert image.width >= 400 and image.height >= 100, path.name  # a strip of images is low
            low, high = image.convert("L").getextrema()
            assert high - low > 100, path.name


def test_models_and_snapshots_hold_tensors_and_json_only(done):
    files = {path for path in (done / "models").rglob("*") if path.is_file()}
    cards = {path for path in files if done / "models/cards" in path.parents}
    assert {path.name for path in files - cards} == {"model.safetensors", "config.json"}
    assert {path.suffix for path in (done / "snapshots").rglob("*") if path.is_file()} == {".safetensors"}


def test_every_model_has_a_card(done):
    cards = {path.relative_to(done / "models/cards").with_suffix("") for path in (done / "models/cards").rglob("*.md")}
    models = {path.parent.relative_to(done / "models") for path in (done / "models").rglob("config.json")}
    assert cards == {path for path in models if not path.name.startswith("seed_")}


def test_the_course_of_a_training_ends_where_its_evaluation_does(done):
    """Measured from the snapshots: the last of them holds the weights that were saved as the model."""
    for path in sorted((done / "metrics/ssl").glob("*.json")):
        metrics = json.loads(path.read_text())
        course = pd.read_csv(done / f"plots/ssl/{path.stem}_course.csv")
        last = course[course["epoch"] == course["epoch"].max()].sort_values("seed")
        assert last["knn_accuracy"].tolist() == [run["knn_accuracy"] for run in metrics["seeds"]]


def test_the_headline_numbers_fit_a_screen_and_are_those_of_the_metrics(done):
    shown = run(done, "dvc", "metrics", "show")
    assert max(map(len, shown.splitlines())) <= 200
    for path in (done / "metrics/headline").rglob("*.json"):
        whole = json.loads((done / "metrics" / path.relative_to(done / "metrics/headline")).read_text())
        headline = json.loads(path.read_text())
        assert headline and all(whole[key] == value for key, value in headline.items() if key != "seconds_total")


def test_the_report_is_one_page_that_needs_no_network(done):
    page = (done / "plots/report.html").read_text()
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?:https?:)?//[^"']+\.(?:js|css|png|woff2?)""", page)
    assert "data:image/webp;base64," in page


def test_claims_figures_and_page_read_only_what_their_stages_list(done, stages, tmp_path, monkeypatch):
    """A stage that reads a file which it does not list stays as it was when the file changes."""
    monkeypatch.setattr(drawing, "save", lambda figure, path: plt.close(figure))

    def draw(results: Results) -> None:
        for figure in figures():
            # The profile omits variants, and with them some figures beyond the report's.
            with nullcontext() if figure.of_report else suppress(UnmeasuredError):
                figure.draw(figure.path(tmp_path), results)

    limits = read(done / "params.yaml", claims=ClaimsParams).claims
    resampling = Resampling(seed=0, level=0.95, draws=10, owner="claims")
    acts = {"claims": lambda results: decide(Evidence(results, resampling, limits), CLAIMS, figures()), "figures": draw}
    for stage, act in (acts | {"report": lambda results: (page.render(results), cards.write(results))}).items():
        results = Results(done)
        act(results)
        listed = {dep["path"] for dep in stages[stage]["deps"]} | {"params.yaml"}
        unlisted = {path for path in results._read if not any(f"{path}/".startswith(f"{dep}/") for dep in listed)}
        assert unlisted == set(), stage


def test_the_plots_of_dvc_show_offline(done):
    run(done, "dvc", "plots", "show")
    page = (done / "dvc_plots/index.html").read_text()
    assert "<script src=" not in page and "vega" in page


def test_a_changed_measure_trains_and_samples_nothing(done):
    params = (done / "params.yaml").read_text()
    (done / "params.yaml").write_text(params.replace("manifold_neighbours: 3", "manifold_neighbours: 4"))
    assert re.findall(r"Running stage '(.+?)'", run(done, "dvc", "repro", "evaluate_ddpm")) == ["evaluate_ddpm"]
    (done / "params.yaml").write_text(params)
    # The run cache holds the earlier results.
    assert "Running stage" not in run(done, "dvc", "repro", "evaluate_ddpm")
