"""A variant's numbers over two seeds, against what is recomputed here from its weights."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_ssl import TEST, measured, network, project, train_and_measure, trained_project

from triptych.core.files import read_arrays
from triptych.core.schema import read
from triptych.data.storage import load
from triptych.measures.neighbours import knn_classes
from triptych.measures.params import CollapseThresholds, EvaluationParams
from triptych.nn.weights import save_weights
from triptych.ssl.collapse import effective_rank, embedding_std
from triptych.ssl.course import collapsed_since, course
from triptych.ssl.measure import SSLMeasures
from triptych.ssl.representation import encode
from triptych.ssl.shared.network import SiameseNetwork
from triptych.ssl.shared.params import SSLParams
from triptych.ssl.shared.recipes import recipe
from triptych.ssl.shared.views import Views
from triptych.training.objective import to_float

CPU = torch.device("cpu")
KEPT = "snapshots/ssl/simsiam"

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    return trained_project(tmp_path_factory.mktemp("measured"))


def test_the_metrics_are_means_over_the_seeds(trained):
    found = measured(trained)
    assert found.keys() >= {
        "knn_accuracy", "linear_accuracy", "random_init_knn_accuracy", "random_init_linear_accuracy", "embedding_std",
        "effective_rank", "alignment", "uniformity", "final_loss", "collapsed", "collapse_kind", "collapse_reason",
        "collapsed_since_epoch", "seeds", "intervals",
    }  # fmt: skip
    assert [run["seed"] for run in found["seeds"]] == [0, 1]
    for key in ("knn_accuracy", "linear_accuracy", "embedding_std", "effective_rank", "final_loss"):
        assert found[key] == pytest.approx(np.mean([run[key] for run in found["seeds"]]))
    for key, interval in found["intervals"].items():
        assert interval["low"] <= found[key] <= interval["high"]


def test_the_numbers_are_those_of_the_saved_network(trained):
    """Recomputed here from the weights, for the second seed."""
    data, net = load(trained / "data/ssl"), network(trained / "models/ssl/simsiam/seed_1")
    train, test = (encode(net, split.images, CPU, 50) for split in (data.train, data.test))
    classes = knn_classes(test.backbone, train.backbone, torch.from_numpy(np.array(data.train.labels)), k=5)
    run = measured(trained)["seeds"][1]
    assert run["knn_accuracy"] == pytest.approx((classes.numpy() == data.test.labels).mean())
    assert run["embedding_std"] == pytest.approx(embedding_std(test.projector), rel=1e-5)
    assert run["effective_rank"] == pytest.approx(effective_rank(test.projector), rel=1e-5)
    results = np.load(trained / "evaluations/ssl/simsiam/results.npz", allow_pickle=False)
    np.testing.assert_array_equal(results["knn_correct"][1], classes.numpy() == data.test.labels)
    assert results["linear_correct"].shape == results["random_init_knn_correct"].shape == (2, TEST)
    losses = pd.read_csv(trained / "plots/ssl/simsiam_training.csv").query("seed == 1")["loss"]
    assert losses.iloc[-1] == pytest.approx(run["final_loss"])


def test_the_sheet_shows_the_originals_and_other_views_of_them(trained):
    views = np.load(trained / "evaluations/ssl/simsiam/results.npz", allow_pickle=False)["views"]
    originals = np.asarray(load(trained / "data/ssl").train.images[: len(views)])
    assert views.dtype == np.uint8
    np.testing.assert_array_equal(views[:, 0], originals)
    assert all((views[:, 1] != views[:, number]).any() for number in range(2, views.shape[1]))


def test_without_labels_what_needs_none_is_measured(tmp_path):
    folder = project(tmp_path, labelled=False)
    said = train_and_measure(folder)
    found = measured(folder)
    assert not [key for key in found if "accuracy" in key] and found["intervals"] == {}
    assert {"embedding_std", "effective_rank", "final_loss", "collapsed"} <= found.keys()
    assert np.load(folder / "evaluations/ssl/simsiam/results.npz", allow_pickle=False).files == ["views"]
    assert said.count("no labels") == 2  # by both stages that would measure accuracies
    table = pd.read_csv(folder / "plots/ssl/simsiam_course.csv")
    assert list(table) == ["epoch", "variant", "seed", "test_embedding_std", "effective_rank"]


# --- The course of a training ---


def test_the_course_has_a_row_for_each_kept_epoch_and_ends_in_the_final_numbers(trained):
    table = pd.read_csv(trained / "plots/ssl/simsiam_course.csv")
    assert list(table) == ["epoch", "variant", "seed", "knn_accuracy", "test_embedding_std", "effective_rank"]
    assert table.groupby("seed")["epoch"].apply(list).to_dict() == {0: [1, 2], 1: [1, 2]}
    assert set(table["variant"]) == {"simsiam"}
    for run, (_, rows) in zip(measured(trained)["seeds"], table.groupby("seed"), strict=True):
        last = rows.iloc[-1]
        assert last["knn_accuracy"] == run["knn_accuracy"]
        assert last["test_embedding_std"] == pytest.approx(run["embedding_std"])
        assert last["effective_rank"] == pytest.approx(run["effective_rank"])


def test_neighbours_are_sought_by_the_features_that_params_name(trained):
    data, net = load(trained / "data/ssl"), network(trained / "models/ssl/simsiam")
    knn = read(trained / "params.yaml", evaluation=EvaluationParams).evaluation.ssl.knn
    with torch.no_grad():
        bank, queries = (
            net(to_float(torch.from_numpy(np.array(split.images))))[0] for split in (data.train, data.test)
        )
    classes = knn_classes(queries, bank, torch.from_numpy(np.array(data.train.labels)), k=5)
    by_projector = knn.model_copy(update={"features": "projector"})
    last = {2: trained / KEPT / "seed_0/epoch_0002.safetensors"}
    [row], _, _ = course(net, last, data, by_projector, CPU, 50)
    assert row["knn_accuracy"] == pytest.approx((classes.numpy() == data.test.labels).mean(), abs=1 / TEST)


# --- Collapse ---


def constant(net: SiameseNetwork) -> SiameseNetwork:
    """The same network, whose projections are all one point."""
    last = net.projector[-1]
    net.projector[-2].weight.data.zero_()
    last.running_mean.zero_()
    last.running_mean[0] = -1.0
    return net


def measures(folder: Path) -> SSLMeasures:
    params = read(folder / "params.yaml", ssl=SSLParams, evaluation=EvaluationParams)
    views = Views(recipe(params.ssl, "simsiam").views)
    baselines = read_arrays(folder / "evaluations/ssl_baselines/results.npz")
    return SSLMeasures("simsiam", load(folder / "data/ssl"), views, params.evaluation, 0, 2, baselines, CPU)


def test_a_collapsed_network_is_named_since_its_epoch(trained, tmp_path):
    models, kept = tmp_path / "models", tmp_path / "snapshots"
    shutil.copytree(trained / "models/ssl/simsiam", models)
    shutil.copytree(trained / KEPT, kept)
    for number, folder in enumerate((models, models / "seed_1")):
        collapsed = constant(network(folder))
        save_weights(folder / "model.safetensors", collapsed)
        save_weights(kept / f"seed_{number}/epoch_0002.safetensors", collapsed)
    one = measures(trained)
    runs = one.measure(models, kept, pd.read_csv(trained / "plots/ssl/simsiam_training.csv"))
    found = one.summary(runs)
    assert found["collapsed"] and found["collapse_kind"] == "complete"
    assert found["embedding_std"] == pytest.approx(0, abs=1e-6)
    assert found["collapsed_since_epoch"] == 2  # at the kept epoch before, the weights were those of the training
    assert all(run["collapsed"] for run in found["seeds"])
    assert one.course(runs).query("epoch == 2")["test_embedding_std"].max() < 1e-6


def test_a_variant_has_collapsed_since_the_last_of_its_seeds_did_for_good():
    thresholds = CollapseThresholds(embedding_std=0.5, effective_rank=8.0)

    def since(first: list[float], second: list[float], rank: float = 100.0) -> int | None:
        rows = {"seed": 3 * [0] + 3 * [1], "epoch": 2 * [1, 5, 9], "test_embedding_std": first + second}
        return collapsed_since(pd.DataFrame(rows).assign(effective_rank=rank), thresholds)

    assert since([0.9, 0.1, 0.1], [0.1, 0.1, 0.1]) == 5
    assert since([0.9, 0.1, 0.1], [0.1, 0.9, 0.1]) == 9
    assert since([0.9, 0.1, 0.1], [0.1, 0.1, 0.9]) is None
    assert since([0.9, 0.9, 0.9], [0.9, 0.9, 0.9], rank=2.0) == 1
