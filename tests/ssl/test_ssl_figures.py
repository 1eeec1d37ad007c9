"""Figures of the third study are drawn from its files, and left out only where these lack a number."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from triptych.cli import collapse
from triptych.core.errors import InputError
from triptych.report import drawing
from triptych.report.reader import Results, UnmeasuredError
from triptych.report.sentences import Facts, plain
from triptych.ssl.words import figures, variants
from triptych.studies import METRICS, writers

ROOT = Path(__file__).parents[2]
EPOCHS, WATCHED, SEEDS, CLASSES = 12, (1, 3, 6, 9, 12), (0, 1, 2), 10
THRESHOLDS = {"embedding_std": 0.5, "effective_rank": 8.0}
BASELINES = {
    "random_init_knn_accuracy": 0.1503,
    "random_init_linear_accuracy": 0.5814,
    "pixel_knn_accuracy": 0.5521,
    "pixel_linear_accuracy": 0.7512,
    "raw_pixel_knn_accuracy": 0.3512,
    "raw_pixel_linear_accuracy": 0.6002,
}


def variant(dim: int = 512, method: str = "simsiam", **changes: object) -> dict:
    return {"method": method, "projector_dim": dim, "training": {"batch_size": 128}} | changes


# Each variant's settings, then what becomes of it: loss, std, rank and kNN at the end, and the epoch of its collapse.
STUDY = {
    "simsiam": (variant(), -0.874, 0.936, 88.3, 0.6962, None),
    "no_stop_gradient": (variant(stop_gradient=False), -0.9991, 0.021, 2.4, 0.1423, 3),
    "no_predictor": (variant(predictor="none"), -0.9874, 0.112, 5.6, 0.1402, 6),
    "projector_4096": (variant(1024), -0.861, 0.911, 97.1, 0.7091, None),
}
BATCH_OF_64 = {"training": {"batch_size": 64}}
STRONG, WEAK = {"crop_scale": [0.2, 1.0], "jitter": 0.9}, {"crop_scale": [0.5, 1.0], "jitter": 0.3}
RIVALS = {
    "barlow_twins": (variant(256, "barlow_twins"), 14.2, 0.97, 110.0, 0.7312, None),
    "barlow_small_batch": (variant(256, "barlow_twins", **BATCH_OF_64), 15.2, 0.96, 105.0, 0.7212, None),
    "barlow_large_batch": (
        variant(256, "barlow_twins", training={"batch_size": 256}),
        *(13.9, 0.97, 108.0, 0.7001, None),
    ),
    "barlow_narrow": (variant(64, "barlow_twins"), 7.1, 0.97, 51.0, 0.6602, None),
    "barlow_wide": (variant(1024, "barlow_twins"), 40.0, 0.97, 210.0, 0.7502, None),
    "simsiam_heavy": (variant(views={"heavy": {"operations": 2}}), -0.91, 0.85, 41.0, 0.5602, None),
    "byol": (variant(256, "byol"), 0.93, 0.88, 61.0, 0.7811, None),
    "byol_heavy": (variant(256, "byol", views={"heavy": {"operations": 2}}), 1.1, 0.81, 51.0, 0.7021, None),
    "dssl": (variant(512, "dssl"), -0.82, 0.92, 75.0, 0.7177, None),
    "vicreg": (variant(256, "vicreg"), 21.4, 0.99, 140.0, 0.7387, None),
    "vicreg_no_variance": (variant(256, "vicreg", variance_weight=0), 0.01, 0.03, 1.9, 0.1411, 1),
    "vicreg_no_covariance": (variant(256, "vicreg", covariance_weight=0), 8.3, 0.91, 12.2, 0.6210, None),
    "asymsiam": (variant(512, "asymsiam", source=STRONG, target=WEAK), -0.85, 0.94, 90.0, 0.7091, None),
    "asymsiam_reverse": (variant(512, "asymsiam", source=WEAK, target=STRONG), -0.88, 0.9, 70.0, 0.6571, None),
    "asymsiam_symmetric": (variant(512, "asymsiam", source={}, target={}), -0.86, 0.93, 85.0, 0.6891, None),
    "simclr": (variant(128, "simclr"), 4.1, 0.99, 60.0, 0.7601, None),
}


# The figures whose subject each variant is.
OF_VARIANT = {
    "no_stop_gradient": {44, 45},
    "no_predictor": {46, 47},
    "projector_4096": {48, 49},
    "barlow_small_batch": {58},
    "barlow_wide": {58},
    "byol": {59, 61},
    "dssl": {59},
    "vicreg_no_variance": {60},
    "asymsiam_symmetric": {62},
}
REPORTS = {44, 45, 46, 47, 48, 49, 50, 51, 53, 57}
OF_RIVALS = (58, 59, 60, 61, 62)
EVERY = REPORTS | {*OF_RIVALS}
COURSE = ("knn_accuracy", "test_embedding_std", "effective_rank")
FEWER_SEEDS = ("barlow_large_batch", "asymsiam_reverse")


def write_study(root: Path, study: dict, labelled: bool = True) -> Results:
    """Files of the shape that the stages write."""
    params = {"ssl": {"variants": {name: settings for name, (settings, *_) in study.items()}}}
    _json(root / "params.yaml", params | {"evaluation": {"ssl": {"collapse": THRESHOLDS}}})
    _json(root / "metrics/data.json", {"ssl": {"classes": [str(c) for c in range(CLASSES if labelled else 0)]}})
    for number, (name, (settings, loss, std, rank, knn, since)) in enumerate(study.items()):
        rng = np.random.default_rng(number)
        end = {"loss": loss, "std": std, "rank": rank, "knn": knn}
        seeds = SEEDS[:2] if name in FEWER_SEEDS else SEEDS
        rows = [row for seed in seeds for row in _history(rng, end, settings["method"], seed, since, labelled)]
        rows = pd.DataFrame(rows).assign(variant=name)
        _csv(root / f"plots/ssl/{name}_training.csv", rows.drop(columns=[*COURSE]))
        course = rows[rows["epoch"].isin(WATCHED)][["epoch", "variant", "seed", *COURSE]]
        _csv(root / f"plots/ssl/{name}_course.csv", course if labelled else course.drop(columns=["knn_accuracy"]))
        pace = 6.5 + 0.3 * number
        times = [
            {"epoch": epoch, "seconds": pace + 0.3 * rng.random(), "variant": name, "seed": seed}
            for seed in seeds
            for epoch in range(1, EPOCHS + 1)
        ]
        _csv(root / f"plots/ssl/{name}_timing.csv", pd.DataFrame(times))
        _json(root / f"metrics/ssl/{name}.json", _metrics(end, since, labelled, seeds))
        timing = {"seconds_per_epoch": pace, "device": "cpu", "threads": 2, "torch": "2.15.0"}
        _json(root / f"metrics/timing/ssl/{name}.json", timing)
    views = np.random.default_rng(0).integers(0, 256, (4, 12, 3, 32, 32), dtype=np.uint8)
    (root / "evaluations/ssl/simsiam").mkdir(parents=True)
    np.savez_compressed(root / "evaluations/ssl/simsiam/results.npz", views=views)
    return Results(root)


def _history(rng, end: dict, method: str, seed: int, since: int | None, labelled: bool) -> list[dict]:
    """One seed's rows: from a common start to its end, at once where it collapses."""
    rows = []
    for epoch in range(1, EPOCHS + 1):
        done = 1 - np.exp(-epoch * (1.6 if since else 0.35))
        wobble = 1 + 0.03 * rng.standard_normal()
        start = -0.2 if method == "simsiam" else 2 * abs(end["loss"])
        watched = epoch in WATCHED
        rows.append(
            {
                "epoch": epoch,
                "images": epoch * 5000,
                "loss": max(-1.0, start + (end["loss"] - start) * done),
                "embedding_std": (0.95 + (end["std"] - 0.95) * done) * wobble,
                "learning_rate": 0.1,
                "knn_accuracy": (0.17 + (end["knn"] - 0.17) * done) * wobble if watched and labelled else None,
                "effective_rank": (60 + (end["rank"] - 60) * done) * wobble if watched else None,
                "test_embedding_std": (0.94 + (end["std"] - 0.94) * done) * wobble if watched else None,
                "seed": seed,
            }
        )
    return rows


def _metrics(end: dict, since: int | None, labelled: bool, seeds: tuple[int, ...]) -> dict:
    accuracies = {
        "knn_accuracy": end["knn"],
        "linear_accuracy": 0.4 + 0.7 * end["knn"],
        **BASELINES,
    }
    complete = end["std"] < THRESHOLDS["embedding_std"]
    numbers = {
        "embedding_std": end["std"],
        "effective_rank": end["rank"],
        "final_loss": end["loss"],
        "collapsed": since is not None,
        "collapsed_since_epoch": since,
        "collapse_kind": "none" if since is None else "complete" if complete else "dimensional",
    }
    intervals = {key: {"low": value - 0.0211, "high": value + 0.0213} for key, value in accuracies.items()}
    rows = [{"seed": seed, **({"knn_accuracy": end["knn"] + 0.02 * (seed - 1)} if labelled else {})} for seed in seeds]
    return numbers | {"seeds": rows} | (accuracies | {"intervals": intervals} if labelled else {"intervals": {}})


def _csv(path: Path, table: pd.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)


def _json(path: Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def draw(root: Path, study: dict, labelled: bool = True, only: set[int] = EVERY) -> set[int]:
    """Draws a study and returns the numbers of the figures drawn."""
    results = write_study(root, study, labelled)
    drawn = set()
    for figure in (figure for figure in figures.FIGURES if figure.number in only):
        try:
            figure.draw(figure.path(root / "figures"), results)
            drawn.add(figure.number)
        except UnmeasuredError:
            assert not figure.path(root / "figures").exists()
    return drawn


@pytest.fixture
def unsaved(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """Keep figures instead of laying them out and writing them, which takes most of their time."""
    kept = {}

    def keep(figure: Figure, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        plt.close(figure)
        kept[path.stem.partition("_")[0]] = figure

    monkeypatch.setattr(drawing, "save", keep)
    return kept


def test_every_figure_is_drawn_and_the_same_files_give_the_same_bytes(tmp_path: Path):
    assert draw(tmp_path / "first", STUDY | RIVALS) == EVERY
    assert draw(tmp_path / "second", STUDY | RIVALS, only={45, 50, 51, 58}) < EVERY
    for path in (tmp_path / "first/figures").iterdir():
        with Image.open(path) as picture:
            assert 800 < picture.width < 1000 and 200 < picture.height < 1300, path
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 50, path
    for path in (tmp_path / "second/figures").iterdir():
        assert path.read_bytes() == (tmp_path / "first/figures" / path.name).read_bytes(), path.name


def test_a_chart_has_axis_labels_at_most_eight_coloured_lines_and_no_prose(tmp_path: Path, unsaved):
    """All variants collapsed: the most that could stand out."""
    everything = {name: (*entry[:-1], 3) for name, entry in (STUDY | RIVALS).items()}
    draw(tmp_path, everything, only=EVERY - {50})
    assert len(unsaved) == len(EVERY) - 1
    greys = {to_hex(colour) for colour in ("#bbbbbb", drawing.INK, drawing.MUTED)}
    for name, figure in unsaved.items():
        assert figure._suptitle is None and not figure.texts, name
        for axes in (axes for axes in figure.axes if axes.axison):
            assert axes.get_xlabel() or axes.get_xticklabels()[0].get_text(), name
            assert not axes.get_title() and not axes.texts, name
            lines = [line for line in axes.get_lines() if len(line.get_xdata()) > 1]
            looks = {(to_hex(line.get_color()), str(line._unscaled_dash_pattern)) for line in lines}
            assert len([look for look in looks if look[0] not in greys]) <= figures.MOST_LINES, name


def test_images_without_labels_leave_out_the_figures_of_accuracy_and_no_others(tmp_path: Path, unsaved):
    assert draw(tmp_path, STUDY | RIVALS, labelled=False) == {45, 47, 49, 50, 51, 60}


def test_what_was_not_measured_leaves_its_line_out_and_no_figure(tmp_path: Path, unsaved, monkeypatch):
    """An older run has no pixels."""
    untrained = {key: value for key, value in BASELINES.items() if key.startswith("random_init")}
    monkeypatch.setattr(sys.modules[__name__], "BASELINES", untrained)
    assert draw(tmp_path, STUDY | RIVALS) == EVERY
    legend = [text.get_text() for text in unsaved["fig44"].legends[0].get_texts()]
    assert legend == ["SimSiam", "without stop-gradient", "untrained encoder", "chance"]


def test_lines_lie_at_the_values_of_the_baselines(tmp_path: Path, unsaved):
    draw(tmp_path, STUDY, only={44, 53})
    levels = {line.get_label(): line.get_ydata()[0] for line in unsaved["fig44"].axes[0].get_lines()}
    assert (levels["untrained encoder"], levels["pixels"], levels["chance"]) == (0.1503, 0.5521, 0.1)
    linear = {line.get_label(): line.get_xdata()[0] for line in unsaved["fig53"].axes[1].get_lines()}
    assert (linear["untrained encoder"], linear["pixels"], linear["raw pixels"]) == (0.5814, 0.7512, 0.6002)


@pytest.mark.parametrize("gone", ["no_predictor", "barlow_wide", "byol", "dssl"])
def test_a_removed_variant_leaves_out_its_own_figures_and_no_others(tmp_path: Path, unsaved, gone: str):
    kept = {name: entry for name, entry in (STUDY | RIVALS).items() if name != gone}
    assert draw(tmp_path, kept) == EVERY - OF_VARIANT[gone]


def test_without_rivals_the_reports_figures_are_drawn_and_those_of_all_variants(tmp_path: Path, unsaved):
    assert draw(tmp_path, STUDY) == REPORTS


def test_the_projector_outputs_go_by_their_sizes_in_this_run(tmp_path: Path, unsaved):
    draw(tmp_path, STUDY, only={48})
    legend = [text.get_text() for text in unsaved["fig48"].legends[0].get_texts()]
    assert legend[:2] == ["projector output 512", "projector output 1024"]


def test_methods_are_ranked_by_accuracy_and_by_time_and_hollow_where_they_collapsed(tmp_path: Path, unsaved):
    draw(tmp_path, STUDY, only={53, 57})
    rows = {name: [tick.get_text() for tick in unsaved[name].axes[0].get_yticklabels()] for name in ("fig53", "fig57")}
    assert rows["fig53"] == ["wider projector", "SimSiam", "without stop-gradient", "without predictor"]
    assert rows["fig57"] == ["SimSiam", "without stop-gradient", "without predictor", "wider projector"]
    dots = [line for line in unsaved["fig53"].axes[0].get_lines() if line.get_marker() == "o"]
    assert [dot.get_markerfacecolor() == "white" for dot in dots] == [False, False, True, True]


def test_the_minutes_of_training_are_those_of_one_seed(tmp_path: Path, unsaved):
    draw(tmp_path, {"simsiam": STUDY["simsiam"]}, only={57})
    seconds = pd.read_csv(tmp_path / "plots/ssl/simsiam_timing.csv")["seconds"].sum()
    [bar] = unsaved["fig57"].axes[1].patches
    assert bar.get_width() == pytest.approx(seconds / len(SEEDS) / 60)


def test_result_lines_name_who_collapsed_and_the_extremes(tmp_path: Path):
    results = write_study(tmp_path, STUDY | RIVALS)
    facts = Facts(results, METRICS, writers(results.params))
    said = {figure.number: plain(facts.sentence(figure)).replace("\u00a0", " ") for figure in figures.FIGURES}
    assert said[51].startswith("3 of 20 variants count as collapsed: without stop-gradient, without predictor, VICReg")
    assert said[53].startswith("Highest kNN accuracy: BYOL, 78.1 % (76.0 to 80.2 %); pixels 55.2 %, untrained encoder")
    assert said[57] == "Seconds per epoch: from 6.50 (SimSiam) to 12.20 (SimCLR)."


def test_a_runs_history_joins_what_training_recorded_and_what_was_measured_later(tmp_path: Path):
    history = figures.history(write_study(tmp_path, STUDY), "simsiam")
    assert len(history) == EPOCHS * len(SEEDS) and history["loss"].notna().all()
    measured = history.dropna(subset=["knn_accuracy"])
    assert sorted(set(measured["epoch"])) == [*WATCHED] and len(measured) == len(WATCHED) * len(SEEDS)


def test_a_variant_is_described_by_what_it_changes_and_a_recipe_by_its_settings():
    recipe = {"projector_dim": 512, "stop_gradient": True, "training": {"batch_size": 64}}
    given = {
        "simsiam": {"method": "simsiam"},
        "no_stop_gradient": {"method": "simsiam", "stop_gradient": False},
        "large_batch": {"method": "simsiam", "training": {"batch_size": 1024}},
        "heavy": {"method": "simsiam", "views": {"heavy": {"operations": 2}}},
        "asymmetric": {"method": "simsiam", "source": {"crop_scale": [0.2, 1.0]}, "target": {"jitter": 0.1}},
        "other": {"method": "simclr"},
    }
    found = variants.variants({"ssl": {"methods": {"simsiam": recipe, "simclr": {}}, "variants": given}})
    assert {name: settings.described for name, settings in found.items()} == {
        "simsiam": "projector output 512, stop-gradient",
        "no_stop_gradient": "no stop-gradient",
        "large_batch": "batch size 1024",
        "heavy": "heavy operations 2",
        "asymmetric": "source crop scale 0.2 to 1, target jitter 0.1",
        "other": "",
    }
    assert (found["large_batch"].dim, found["other"].dim) == (512, None)


def test_a_missing_file_of_a_variant_is_named(tmp_path: Path):
    results = write_study(tmp_path, STUDY)
    (tmp_path / "plots/ssl/no_predictor_course.csv").unlink()
    with pytest.raises(InputError, match=r"plots/ssl/no_predictor_course\.csv: no such file"):
        figures.load(results)


def test_the_stage_says_what_it_leaves_out_and_joins_the_curves_of_all_variants(
    tmp_path: Path, unsaved, monkeypatch, capsys
):
    """Only the figures of this study are drawn, because no other has run here."""
    kept = {name: STUDY[name] for name in ("no_predictor", "simsiam")}
    write_study(tmp_path, kept)
    monkeypatch.chdir(tmp_path)
    stage = runpy.run_path(str(ROOT / "stages/draw_figures.py"))
    monkeypatch.setitem(stage["main"].__globals__, "figures", lambda: figures.FIGURES)
    monkeypatch.setitem(stage["main"].__globals__, "draw_overview", lambda path, results: None)
    stage["main"]()
    said = capsys.readouterr().out.splitlines()
    assert [line.split(" is not drawn: ")[0] for line in said] == [f"figure {n}" for n in (44, 45, 48, 49, *OF_RIVALS)]
    assert "no no_stop_gradient" in said[0]
    curves = pd.read_csv("plots/curves/ssl.csv")
    assert list(dict.fromkeys(curves["variant"])) == ["no_predictor", "simsiam"]
    assert len(curves) == 2 * EPOCHS * len(SEEDS) and {"loss", "knn_accuracy"} <= set(curves)


# --- `triptych collapse` ---

PAIR = {name: STUDY[name] for name in ("simsiam", "no_stop_gradient")}


def test_collapse_needs_the_results_of_two_encoders_only(tmp_path: Path):
    table, verdict = collapse.compare(write_study(tmp_path, PAIR))
    assert verdict == "Without stop-gradient the embeddings collapse; with it they do not."
    assert [row[0] for row in table.rows] == ["SimSiam", "without stop-gradient"]
    assert table.columns == ["model", "kNN", "linear", "std", "rank", "collapsed"]
    assert table.rows[1][-1] == "complete from epoch 3"
    with Image.open(tmp_path / collapse.PICTURE) as image:
        assert image.width >= 400


@pytest.mark.parametrize(
    ("simsiam", "ablation", "says"), [(3, 3, "SimSiam itself collapsed"), (None, None, "Neither encoder collapsed")]
)
def test_the_verdict_on_collapse_is_that_of_the_run(tmp_path: Path, unsaved, simsiam, ablation, says):
    study = {name: (*PAIR[name][:-1], since) for name, since in zip(PAIR, (simsiam, ablation), strict=True)}
    assert says in collapse.compare(write_study(tmp_path, study))[1]


def test_collapse_before_both_have_run_names_the_stages(tmp_path: Path):
    results = write_study(tmp_path, PAIR)
    (tmp_path / "metrics/ssl/no_stop_gradient.json").unlink()
    with pytest.raises(InputError, match="no results of no_stop_gradient yet; run `triptych repro"):
        collapse.compare(results)
