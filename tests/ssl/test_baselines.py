"""Accuracies that need no training: pixels, and the encoder at its random start."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tiny_ssl import TEST, TRAIN, measured, project, stage, tiny_params, trained_project

from triptych.core.schema import read
from triptych.core.seeds import fold
from triptych.data.storage import load
from triptych.measures.neighbours import knn_classes
from triptych.measures.params import EvaluationParams
from triptych.nn.fast.norm import standardised
from triptych.ssl.methods import simsiam
from triptych.ssl.probe import BASELINES, measure_baselines, untrained_correct, untrained_encoder
from triptych.ssl.shared.params import SSLParams
from triptych.ssl.shared.recipes import recipe
from triptych.training.objective import to_float

CPU = torch.device("cpu")
RESULTS = "evaluations/ssl_baselines/results.npz"

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    return trained_project(tmp_path_factory.mktemp("baselines"))


def params(folder: Path):  # the sections that baselines depend on
    return read(folder / "params.yaml", ssl=SSLParams, evaluation=EvaluationParams)


def images(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    data = load(folder / "data/ssl")
    return tuple(to_float(torch.from_numpy(np.array(split.images))) for split in (data.train, data.test))


def test_pixels_are_those_of_the_images_and_those_that_the_encoder_receives(trained):
    given, data = params(trained), load(trained / "data/ssl")
    backbone = given.ssl.shared.backbone.model_copy(update={"standardise": True})
    rows = measure_baselines(backbone, range(2), data, given.evaluation, CPU)
    assert {name: len(correct) for name, correct in rows.items()} == {
        f"{features}_{classifier}": runs
        for features, runs in (("raw_pixel", 1), ("pixel", 1), ("random_init", 2))
        for classifier in ("knn", "linear")
    }
    found = {name: correct[0] for name, correct in rows.items()}
    labels = torch.from_numpy(np.array(data.train.labels))
    for name, change in (("raw_pixel", lambda x: x), ("pixel", standardised)):
        train, test = (change(part).flatten(1) for part in images(trained))
        right = knn_classes(test, train, labels, k=5).numpy() == data.test.labels
        np.testing.assert_array_equal(found[f"{name}_knn"], right)
    # The classes of these images are their brightness, which standardised images have lost.
    assert found["raw_pixel_linear"].mean() > 0.9 > 0.6 > found["pixel_linear"].mean()
    # An encoder that does not standardise receives the pixels as they are.
    as_they_are = measure_baselines(given.ssl.shared.backbone, range(1), data, given.evaluation, CPU)
    np.testing.assert_array_equal(as_they_are["pixel_linear"], as_they_are["raw_pixel_linear"])


def test_the_untrained_encoder_has_the_weights_from_which_training_starts(trained):
    given = params(trained)
    torch.manual_seed(fold(1, "weights"))
    objective, _ = simsiam.build(recipe(given.ssl, "simsiam"), 3)
    start = untrained_encoder(given.ssl.shared.backbone, 1, load(trained / "data/ssl"), TRAIN, CPU)
    assert all(
        torch.equal(one, other)
        for one, other in zip(start.parameters(), objective.network.backbone.parameters(), strict=True)
    )


def test_its_batch_norm_has_the_statistics_of_training_images(trained):
    """With one batch of all training images, its features are standardised layer by layer."""
    network = untrained_encoder(params(trained).ssl.shared.backbone, 0, load(trained / "data/ssl"), TRAIN, CPU)
    stem, norm = network.stem[0], network.stem[1]
    before = stem(images(trained)[0])
    torch.testing.assert_close(norm.running_mean, before.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(norm.running_var, before.var(dim=(0, 2, 3)))


def test_the_stage_and_each_variant_report_the_same(trained):
    arrays = dict(np.load(trained / RESULTS, allow_pickle=False))
    stage_metrics, variant = json.loads((trained / "metrics/ssl_baselines.json").read_text()), measured(trained)
    assert list(arrays) == [f"{name}_correct" for name in BASELINES]
    for name in BASELINES:
        rows, key = arrays[f"{name}_correct"], f"{name}_accuracy"
        assert rows.shape == ((2, TEST) if name.startswith("random_init") else (1, TEST))
        assert stage_metrics[key] == pytest.approx(rows.mean()) == variant[key]
        bounds = stage_metrics["ranges" if len(rows) == 2 else "intervals"][key]
        assert bounds["low"] <= stage_metrics[key] <= bounds["high"]
        assert [run[key] for run in variant["seeds"]] == pytest.approx(list(np.broadcast_to(rows, (2, TEST)).mean(1)))


def test_a_variant_with_an_encoder_of_its_own_has_a_floor_of_its_own(tmp_path):
    folder = project(tmp_path)
    tree = tiny_params()
    tree["ssl"]["variants"]["wide"] = {"method": "simsiam", "backbone": {"width": 16}}
    (folder / "params.yaml").write_text(yaml.safe_dump(tree))
    # The stage that measures the floor of the shared encoder has not run, and need not.
    for script in ("train_ssl.py", "evaluate_ssl.py"):
        done = stage(folder, script, "wide")
        assert done.returncode == 0, done.stderr
    found, given = np.load(folder / "evaluations/ssl/wide/results.npz", allow_pickle=False), params(folder)
    own = untrained_correct(recipe(given.ssl, "wide").backbone, 1, load(folder / "data/ssl"), given.evaluation, CPU)
    for classifier, correct in own.items():
        np.testing.assert_array_equal(found[f"random_init_{classifier}_correct"][1], correct)
