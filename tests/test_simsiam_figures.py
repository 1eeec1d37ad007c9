"""Figures 44 to 51, 53 and 57 say what the files of the study say, and are left out exactly where these cannot."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from triptych.studies.catalogue import FIGURES, figure_path
from triptych.studies.ssl import figures as simsiam

EPOCHS, WATCHED, SEEDS, CLASSES = 12, (1, 3, 6, 9, 12), (0, 1, 2), 10
THRESHOLDS = {"embedding_std": 0.5, "effective_rank": 8.0}


def variant(dim: int = 512, method: str = "simsiam", **changes: object) -> dict:
    settings = {"method": method, "projector_dim": dim, "predictor": "mlp", "stop_gradient": True, "symmetric": True}
    return settings | changes


# Each variant's settings, then what becomes of it: loss, std, rank and kNN at the end, and the epoch of its collapse.
STUDY = {
    "simsiam": (variant(), -0.874, 0.936, 88.3, 0.4262, None),
    "no_stop_gradient": (variant(stop_gradient=False), -0.9991, 0.021, 2.4, 0.1423, 3),
    "no_predictor": (variant(predictor="none"), -0.9874, 0.112, 5.6, 0.1402, 6),
    "projector_4096": (variant(1024), -0.861, 0.911, 97.1, 0.4391, None),
}
RIVALS = {
    "barlow_twins": (variant(1024, "barlow_twins"), 14.2, 0.97, 210.0, 0.5312, None),
    "vicreg": (variant(1024, "vicreg"), 21.4, 0.99, 240.0, 0.6587, None),
    "byol": (variant(256, "byol"), -0.93, 0.88, 61.0, 0.4811, None),
    "dssl": (variant(512, "dssl"), -0.82, 0.92, 75.0, 0.4477, None),
    "asymsiam": (variant(512, "asymsiam"), -0.85, 0.94, 90.0, 0.4391, None),
    "simclr": (variant(128, "simclr"), 4.1, 0.99, 100.0, 0.6601, None),
    "heavy_views": (variant(512), -0.97, 0.31, 4.1, 0.1310, 9),
    "no_covariance": (variant(512, "vicreg"), 8.3, 0.71, 6.2, 0.2210, 12),
}


def write_study(root: Path, study: dict, labelled: bool = True) -> dict[str, dict]:
    """Files of the shape that the stages write; returns ssl.variants."""
    for number, (name, (settings, loss, std, rank, knn, since)) in enumerate(study.items()):
        rng = np.random.default_rng(number)
        end = {"loss": loss, "std": std, "rank": rank, "knn": knn}
        rows = [row for seed in SEEDS for row in _history(rng, end, settings["method"], seed, since, labelled)]
        _csv(root / f"plots/ssl/{name}_training.csv", [row | {"variant": name} for row in rows])
        pace = 6.5 + 0.8 * number
        times = [
            {"epoch": epoch, "seconds": pace + 0.3 * rng.random(), "variant": name, "seed": seed}
            for seed in SEEDS
            for epoch in range(1, EPOCHS + 1)
        ]
        _csv(root / f"plots/ssl/{name}_timing.csv", times)
        _json(root / f"metrics/ssl/{name}.json", _metrics(end, since, labelled))
        timing = {"seconds_per_epoch": pace, "device": "cpu", "threads": 2, "torch": "2.15.0"}
        _json(root / f"metrics/timing/ssl/{name}.json", timing)
    views = np.random.default_rng(0).integers(0, 256, (4, 12, 3, 32, 32), dtype=np.uint8)
    (root / "evaluations/ssl/simsiam").mkdir(parents=True)
    np.savez_compressed(root / "evaluations/ssl/simsiam/results.npz", views=views)
    return {name: settings for name, (settings, *_) in study.items()}


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


def _metrics(end: dict, since: int | None, labelled: bool) -> dict:
    accuracies = {
        "knn_accuracy": end["knn"],
        "linear_accuracy": 1.2 * end["knn"],
        "random_init_knn_accuracy": 0.1503,
        "random_init_linear_accuracy": 0.2214,
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
    return numbers | (accuracies | {"intervals": intervals} if labelled else {"intervals": {}})


def _csv(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(path, index=False)


def _json(path: Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def draw(root: Path, study: dict, labelled: bool = True) -> set[int]:
    """Draws a study and returns the numbers of the figures drawn."""
    variants, folder = write_study(root, study, labelled), root / "figures"
    places = {"plots": root / "plots/ssl", "metrics": root / "metrics/ssl"}
    simsiam.draw_report(
        folder, variants, **places, evaluations=root / "evaluations/ssl", classes=CLASSES if labelled else None
    )
    paths = {name: figure_path(folder, number) for name, number in (("collapse", 51), ("comparison", 53), ("cost", 57))}
    simsiam.draw_beyond(paths, variants, THRESHOLDS, **places, timing=root / "metrics/timing/ssl")
    known = {figure_path(folder, entry.number): entry.number for entry in FIGURES}
    return {known[path] for path in folder.iterdir()}


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, simsiam.Run]:
    variants = write_study(tmp_path, STUDY)
    return simsiam.load(variants, tmp_path / "plots/ssl", tmp_path / "metrics/ssl")


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


def test_every_figure_is_drawn_at_the_house_width_and_holds_more_than_white(tmp_path: Path):
    assert draw(tmp_path, STUDY) == {44, 45, 46, 47, 48, 49, 50, 51, 53, 57}
    for path in (tmp_path / "figures").iterdir():
        with Image.open(path) as picture:
            assert 900 < picture.width < 1100 and 300 < picture.height < 1000, path
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 50, path


def test_the_same_files_give_the_same_bytes(tmp_path: Path):
    for copy in ("first", "second"):
        draw(tmp_path / copy, STUDY)
    for path in (tmp_path / "first/figures").iterdir():
        assert path.read_bytes() == (tmp_path / "second/figures" / path.name).read_bytes(), path.name


def test_images_without_labels_leave_out_the_figures_of_accuracy_and_no_others(tmp_path: Path):
    assert draw(tmp_path, STUDY, labelled=False) == {45, 47, 49, 50, 51}


@pytest.mark.parametrize("gone", ["no_stop_gradient", "no_predictor", "projector_4096"])
def test_a_removed_variant_leaves_out_its_own_figures_and_no_others(tmp_path: Path, gone: str):
    kept = {name: entry for name, entry in STUDY.items() if name != gone}
    assert draw(tmp_path, kept) == {44, 45, 46, 47, 48, 49, 50, 51, 53, 57} - set(simsiam.PAIRS[gone])


def test_rivals_join_the_figures_of_all_variants(tmp_path: Path):
    assert draw(tmp_path, STUDY | RIVALS) >= {44, 49, 50, 51, 53, 57}


def test_a_variant_keeps_its_colour_whichever_others_there_are():
    alone, all_of_them = simsiam.colours(["simsiam", "projector_4096"]), simsiam.colours([*RIVALS, *STUDY])
    assert alone["simsiam"] == all_of_them["simsiam"] == "#0072B2"
    assert alone["projector_4096"] == all_of_them["projector_4096"]
    assert len(set(all_of_them.values())) == len(STUDY | RIVALS)
    many = simsiam.colours([*STUDY, *map(str, range(30))])
    assert list(many.values()).count("#0072B2") == 1


def test_knn_note_holds_the_accuracies_their_intervals_and_the_diagnoses(runs: dict):
    note = plain(simsiam.knn_note([runs["simsiam"], runs["no_stop_gradient"]], "Look."))
    assert note.startswith("Look. After epoch 12, SimSiam: 42.6 % (40.5 to 44.8 %);")
    assert "without stop-gradient: 14.2 % (12.1 to 16.4 %); untrained encoder: 15.0 % (12.9 to 17.2 %)" in note
    assert "SimSiam: not collapsed; without stop-gradient: collapsed (complete) since epoch 3." in note
    assert note.endswith("Lines: mean of 3 seeds; bands: from lowest to highest.")


def test_loss_note_holds_the_losses_and_the_spread_that_tells_collapse_from_success(runs: dict):
    note = simsiam.loss_note([runs["simsiam"], runs["no_predictor"]], "Look.")
    assert "SimSiam: loss −0.874, std 0.94, not collapsed" in note
    assert "without predictor: loss −0.987, std 0.11, collapsed (complete) since epoch 6" in note


def test_notes_work_without_labels(tmp_path: Path):
    variants = write_study(tmp_path, STUDY, labelled=False)
    unlabelled = list(simsiam.load(variants, tmp_path / "plots/ssl", tmp_path / "metrics/ssl").values())
    assert "SimSiam: loss −0.874, std 0.94" in simsiam.loss_note(unlabelled[:2], "")
    assert "Not collapsed: SimSiam, projector 1024 (for 4096)." in simsiam.collapse_note(unlabelled)


def test_collapse_note_names_who_collapsed_when_and_by_which_numbers(runs: dict):
    note = simsiam.collapse_note(list(runs.values()))
    assert "Without stop-gradient: collapsed (complete) since epoch 3 (std 0.02, rank 2.4, loss −1.00)." in note
    assert "Without predictor: collapsed (complete) since epoch 6 (std 0.11, rank 5.6, loss −0.99)." in note


def test_comparison_note_names_those_below_the_untrained_encoder(runs: dict):
    note = simsiam.comparison_note(list(runs.values()))
    assert "At or below it by kNN: without stop-gradient, without predictor." in note
    assert "Collapsed (hollow): without stop-gradient, without predictor." in note
    assert "At or below it by kNN: none. Collapsed (hollow): none." in simsiam.comparison_note([runs["simsiam"]])


def test_cost_note_names_each_machine_once(runs: dict):
    timings = [
        {"device": "cpu", "threads": 2},
        {"device": "cpu", "threads": 2},
        {"device": "NVIDIA H100", "threads": 8},
    ]
    assert "(CPU, 2 threads / NVIDIA H100, 8 threads)" in simsiam.cost_note(list(runs.values()), timings)


@pytest.mark.parametrize(
    ("collapsed", "since", "words"),
    [
        (False, None, "not collapsed"),
        (True, 3, "collapsed (dimensional) since epoch 3"),
        (True, None, "collapsed (dimensional)"),
    ],
)
def test_diagnosis(collapsed: bool, since: int | None, words: str):
    metrics = {"collapsed": collapsed, "collapse_kind": "dimensional", "collapsed_since_epoch": since}
    assert simsiam.diagnosis(metrics) == words


def test_a_scaled_down_projector_goes_by_its_true_width_and_says_what_it_stands_for(runs: dict):
    pair = [runs["simsiam"], runs["projector_4096"]]
    assert simsiam.stands_for(pair) == "Scaled-down run: projector output 512 for 2048 and 1024 for 4096 of the report."
    assert simsiam.true_widths("output 2048 and 4096", pair) == "output 512 and 1024"
    assert simsiam.label("projector_4096", 1024) == "projector 1024 (for 4096)"


def test_the_reports_own_widths_need_no_explanation(runs: dict):
    pair = [replace(runs["simsiam"], dim=2048), replace(runs["projector_4096"], dim=4096)]
    assert simsiam.stands_for(pair) == ""
    assert simsiam.true_widths("output 2048 and 4096", pair) == "output 2048 and 4096"
    assert simsiam.label("projector_4096", 4096) == "projector 4096"


@pytest.mark.parametrize(("narrow", "wide"), [(1024, 2048), (4096, 8192), (4096, 2048)])
def test_widths_that_are_each_others_are_not_mixed_up(runs: dict, narrow: int, wide: int):
    pair = [replace(runs["simsiam"], dim=narrow), replace(runs["projector_4096"], dim=wide)]
    assert simsiam.true_widths("output 2048 and 4096", pair) == f"output {narrow} and {wide}"


def test_one_seed_has_no_bands(runs: dict):
    alone = replace(runs["simsiam"], history=runs["simsiam"].history.query("seed == 0"))
    assert simsiam.spread_of_seeds([alone]) == "One seed, so no bands."


def test_the_line_is_the_mean_over_seeds_where_measured(runs: dict):
    mean = runs["simsiam"].mean("knn_accuracy")
    assert tuple(mean.index) == WATCHED
    rows = runs["simsiam"].history.query("epoch == 6")
    assert mean[6] == pytest.approx(rows["knn_accuracy"].sum() / len(SEEDS))


def test_elapsed_time_is_that_of_one_seed():
    seconds = pd.DataFrame({"epoch": [1, 2, 1, 2], "seconds": [1.0, 2.0, 3.0, 4.0], "seed": [0, 0, 1, 1]})
    assert simsiam.elapsed(seconds).to_dict() == {1: 2.0, 2: 5.0}


@pytest.mark.parametrize(
    ("heights", "placed"),
    [
        ([0.9, 0.1], [0.9, 0.1]),  # far apart: nobody moves
        ([0.5, 0.5], [0.45, 0.55]),  # both give way alike
        ([0.52, 0.48, 0.9], [0.55, 0.45, 0.9]),
        ([0.0, 0.01], [0.0, 0.1]),  # none leaves the plot
        ([1.0, 0.99, 1.0], [0.9, 0.8, 1.0]),
    ],
)
def test_names_keep_apart(heights: list, placed: list):
    assert simsiam.spread_out(heights, 0.1) == pytest.approx(placed)
