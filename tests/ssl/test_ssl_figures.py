"""Figures 44 to 51, 53 and 57 to 62 say what the files of the study say, and are left out only where these cannot."""

import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from triptych.core.errors import InputError
from triptych.report.drawing import style
from triptych.report.reader import Metrics, Results, UnmeasuredError
from triptych.ssl.words import baselines, figures, levels, notes, runs, variants
from triptych.ssl.words.runs import Run

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
    style.apply()
    drawn = set()
    for figure in (figure for figure in figures.FIGURES if figure.number in only):
        try:
            figure.draw(figure.path(root / "figures"), results)
            drawn.add(figure.number)
        except UnmeasuredError:
            assert not figure.path(root / "figures").exists()
    return drawn


@pytest.fixture
def of(tmp_path: Path) -> dict[str, Run]:
    """The study's runs by name."""
    return {run.name: run for run in runs.load(write_study(tmp_path, STUDY))}


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


@pytest.fixture
def unsaved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made and not laid out or written, which takes most of their time; an empty file stands for each."""

    def touch(path: Path, figure: Figure) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        plt.close(figure)

    monkeypatch.setattr(style, "save", lambda figure, path: touch(path, figure))
    monkeypatch.setattr(style, "finish", lambda path, figure, title, note: touch(path, figure))


def test_every_figure_is_drawn_at_the_house_width_and_the_same_files_give_the_same_bytes(tmp_path: Path):
    assert draw(tmp_path / "first", STUDY | RIVALS) == EVERY
    assert draw(tmp_path / "second", STUDY | RIVALS, only={44, 45, 50, 51, 53, 57, 58, 60}) < EVERY
    for path in (tmp_path / "first/figures").iterdir():
        with Image.open(path) as picture:
            assert 900 < picture.width < 1100 and 300 < picture.height < 1100, path
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 50, path
    for path in (tmp_path / "second/figures").iterdir():
        assert path.read_bytes() == (tmp_path / "first/figures" / path.name).read_bytes(), path.name


def test_images_without_labels_leave_out_the_figures_of_accuracy_and_no_others(tmp_path: Path, unsaved):
    assert draw(tmp_path, STUDY | RIVALS, labelled=False) == {45, 47, 49, 50, 51, 60}


def test_what_was_not_measured_leaves_its_line_out_and_no_figure(tmp_path: Path, unsaved, monkeypatch):
    """An older run has no pixels."""
    untrained = {key: value for key, value in BASELINES.items() if key.startswith("random_init")}
    monkeypatch.setattr(sys.modules[__name__], "BASELINES", untrained)
    assert draw(tmp_path, STUDY | RIVALS) == EVERY
    metrics = Results(tmp_path).metrics("ssl/simsiam")
    assert [level.label for level in levels.baseline_levels(metrics, "knn_accuracy")] == [
        "untrained encoder\n15.0\u00a0%"
    ]


@pytest.mark.parametrize(("key", "values"), [("knn_accuracy", (0.1503, 0.5521)), ("linear_accuracy", (0.5814, 0.7512))])
def test_pixels_and_the_untrained_encoder_are_lines_of_their_own(of: dict[str, Run], key: str, values: tuple):
    found = levels.baseline_levels(of["simsiam"].metrics, key)
    assert tuple(level.value for level in found) == values
    assert len({str(level.line) for level in found}) == 2
    assert len(levels.baseline_levels(of["simsiam"].metrics, key, baselines.BASELINES)) == 3


@pytest.mark.parametrize("gone", ["no_predictor", "barlow_wide", "byol", "dssl"])
def test_a_removed_variant_leaves_out_its_own_figures_and_no_others(tmp_path: Path, unsaved, gone: str):
    kept = {name: entry for name, entry in (STUDY | RIVALS).items() if name != gone}
    assert draw(tmp_path, kept) == EVERY - OF_VARIANT[gone]


def test_without_rivals_the_reports_figures_are_drawn_and_those_of_all_variants(tmp_path: Path, unsaved):
    assert draw(tmp_path, STUDY) == REPORTS


def settings(study: dict) -> dict[str, variants.Settings]:
    entries = {name: entry for name, (entry, *_) in study.items()}
    return variants.variants({"ssl": {"methods": {}, "variants": entries}})


def test_a_variant_keeps_its_colour_whichever_others_there_are_and_shares_it_with_its_method():
    some = variants.colours(settings({name: STUDY[name] for name in ("simsiam", "projector_4096")}))
    trained = settings(RIVALS | STUDY)
    found = variants.colours(trained)
    assert some["simsiam"] == found["simsiam"] == found["simsiam_heavy"] == "#0072B2"
    assert some["projector_4096"] == found["projector_4096"] != found["simsiam"]
    assert found["vicreg"] == found["vicreg_no_variance"] != found["byol"]
    lines = variants.dashes(trained)
    assert len({(found[name], str(lines[name])) for name in trained}) == len(trained)
    assert lines["vicreg"] == lines["no_predictor"] == "-" != lines["byol_heavy"]


def test_methods_without_a_colour_of_their_own_get_one_that_no_other_has():
    found = variants.colours(settings({name: (variant(method=name),) for name in ("moco", "swav", "byol")}))
    assert len({found[name] for name in ("moco", "swav", "byol")}) == 3


def test_knn_note_holds_the_accuracies_their_intervals_and_who_collapsed(of: dict[str, Run]):
    note = plain(notes.knn_note([of["simsiam"], of["no_stop_gradient"]], "Look."))
    assert note.startswith("Look. After epoch 12, SimSiam: 69.6 % (67.5 to 71.8 %);")
    assert "without stop-gradient: 14.2 % (12.1 to 16.4 %); untrained encoder: 15.0 % (12.9 to 17.2 %)" in note
    assert "; pixels: 55.2 % (53.1 to 57.3 %) (intervals" in note
    assert "SimSiam: not collapsed; without stop-gradient: collapsed (complete) since epoch 3." in note
    assert note.endswith("Lines: mean of 3 seeds; bands: from lowest to highest.")


def test_a_note_on_runs_of_different_numbers_of_seeds_says_both(of: dict[str, Run]):
    simsiam = of["simsiam"]
    history = simsiam.curve.history
    fewer = replace(simsiam, curve=replace(simsiam.curve, history=history[history["seed"] < 2]))
    told = notes.spread_of_seeds([simsiam, fewer])
    assert told == "Lines: mean of 2 or 3 seeds; bands: from lowest to highest."


def test_loss_note_holds_the_losses_and_the_spread_that_tells_collapse_from_success(of: dict[str, Run]):
    note = notes.loss_note([of["simsiam"], of["no_predictor"]], "Look.")
    assert "SimSiam: loss −0.874, std 0.94, not collapsed" in note
    assert "without predictor: loss −0.987, std 0.11, collapsed (complete) since epoch 6" in note


def test_notes_work_without_labels(tmp_path: Path):
    unlabelled = runs.load(write_study(tmp_path, STUDY, labelled=False))
    assert "SimSiam: loss −0.874, std 0.94" in notes.loss_note(unlabelled[:2], "")
    assert "Not collapsed: SimSiam, projector 1024 (for 4096)." in notes.collapse_note(unlabelled)


def test_collapse_note_names_who_collapsed_when_and_by_which_numbers(of: dict[str, Run]):
    note = notes.collapse_note(list(of.values()))
    assert "Without stop-gradient: collapsed (complete) since epoch 3 (std 0.02, rank 2.4, loss −1.00)." in note
    assert "Without predictor: collapsed (complete) since epoch 6 (std 0.11, rank 5.6, loss −0.99)." in note


def test_comparison_note_names_those_below_what_has_learned_nothing(of: dict[str, Run]):
    note = notes.comparison_note(list(of.values()))
    assert "At or below the best of them by kNN: without stop-gradient, without predictor." in note
    assert "Collapsed (hollow): without stop-gradient, without predictor." in note
    assert "At or below the best of them by kNN: none. Collapsed (hollow): none." in notes.comparison_note(
        [of["simsiam"]]
    )


def test_notes_tell_the_seeds_of_those_that_have_others(tmp_path: Path):
    loaded = runs.load(write_study(tmp_path, STUDY | RIVALS))
    assert notes.seeds_of(loaded) == "Seeds: 2 of Barlow Twins (larger batch), AsymSiam (exchanged); 3 of the others."
    assert notes.seeds_of(loaded[:2]) == "3 seeds each."
    assert "The other 17 did not collapse" in notes.collapse_note(loaded)


def test_cost_note_names_each_machine_once(of: dict[str, Run]):
    places = [("cpu", 2), ("cpu", 2), ("NVIDIA H100", 8)]
    timings = [Metrics("", {"device": device, "threads": threads}) for device, threads in places]
    assert "(CPU, 2 threads / NVIDIA H100, 8 threads)" in notes.cost_note(list(of.values()), timings)


def test_a_collapse_is_told_with_its_kind_and_since_when():
    for collapsed, since, words in [
        (False, None, "not collapsed"),
        (True, 3, "collapsed (dimensional) since epoch 3"),
        (True, None, "collapsed (dimensional)"),
    ]:
        metrics = {"collapsed": collapsed, "collapse_kind": "dimensional", "collapsed_since_epoch": since}
        assert notes.collapse_of(Metrics("", metrics)) == words


def test_a_scaled_down_projector_goes_by_its_true_width_and_says_what_it_stands_for(of: dict[str, Run]):
    pair = [of["simsiam"], of["projector_4096"]]
    assert notes.stands_for(pair) == "Scaled-down run: projector output 512 for 2048 and 1024 for 4096 of the report."
    assert figures.true_widths("output 2048 and 4096", pair) == "output 512 and 1024"
    assert runs.label("projector_4096", 1024) == "projector 1024 (for 4096)"


def of_width(run: Run, dim: int) -> Run:
    return replace(run, settings=replace(run.settings, recipe={"projector_dim": dim}))


def test_the_reports_own_widths_need_no_explanation(of: dict[str, Run]):
    pair = [of_width(of["simsiam"], 2048), of_width(of["projector_4096"], 4096)]
    assert notes.stands_for(pair) == ""
    assert figures.true_widths("output 2048 and 4096", pair) == "output 2048 and 4096"
    assert runs.label("projector_4096", 4096) == "projector 4096"


@pytest.mark.parametrize(("narrow", "wide"), [(1024, 2048), (4096, 8192), (4096, 2048)])
def test_widths_that_are_each_others_are_not_mixed_up(of: dict[str, Run], narrow: int, wide: int):
    pair = [of_width(of["simsiam"], narrow), of_width(of["projector_4096"], wide)]
    assert figures.true_widths("output 2048 and 4096", pair) == f"output {narrow} and {wide}"


def test_one_seed_has_no_bands(of: dict[str, Run]):
    curve = of["simsiam"].curve
    alone = replace(of["simsiam"], curve=replace(curve, history=curve.history.query("seed == 0")))
    assert notes.spread_of_seeds([alone]) == "One seed, so no bands."


def test_a_runs_history_joins_what_training_recorded_and_what_was_measured_later(of: dict[str, Run]):
    history = of["simsiam"].curve.history
    assert len(history) == EPOCHS * len(SEEDS) and history["loss"].notna().all()
    measured = history.dropna(subset=["knn_accuracy"])
    assert sorted(set(measured["epoch"])) == [*WATCHED] and len(measured) == len(WATCHED) * len(SEEDS)


def test_elapsed_time_is_that_of_one_seed():
    seconds = pd.DataFrame({"epoch": [1, 2, 1, 2], "seconds": [1.0, 2.0, 3.0, 4.0], "seed": [0, 0, 1, 1]})
    assert figures.elapsed(seconds).to_dict() == {1: 2.0, 2: 5.0}


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
        runs.load(results)


def test_the_stage_says_what_it_leaves_out_and_joins_the_curves_of_all_variants(
    tmp_path: Path, unsaved, monkeypatch, capsys
):
    """Of the other studies nothing has run here: only the figures of this one are drawn."""
    kept = {name: STUDY[name] for name in ("no_predictor", "simsiam")}
    write_study(tmp_path, kept)
    monkeypatch.chdir(tmp_path)
    stage = runpy.run_path(str(ROOT / "stages/draw_figures.py"))
    monkeypatch.setitem(stage["main"].__globals__, "figures", lambda: figures.FIGURES)
    monkeypatch.setattr(stage["overview"], "draw", lambda path, results: None)
    stage["main"]()
    said = capsys.readouterr().out.splitlines()
    assert [line.split(" is left out: ")[0] for line in said] == [f"figure {n}" for n in (44, 45, 48, 49, *OF_RIVALS)]
    assert "no no_stop_gradient" in said[0]
    curves = pd.read_csv("plots/curves/ssl.csv")
    assert list(dict.fromkeys(curves["variant"])) == ["no_predictor", "simsiam"]
    assert len(curves) == 2 * EPOCHS * len(SEEDS) and {"loss", "knn_accuracy"} <= set(curves)
