"""A variant's numbers over two seeds, against what is recomputed here from its weights."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_ssl import TEST, measured, network, project, train_and_measure, trained_project

from triptych.core.errors import InputError
from triptych.core.files import read_arrays
from triptych.core.schema import read
from triptych.data.storage import load
from triptych.measures.neighbours import knn_classes
from triptych.measures.params import EvaluationParams
from triptych.nn.weights import save_weights
from triptych.ssl.measure import SSLMeasures, effective_rank, embedding_std, final_losses
from triptych.ssl.probe import BASELINES, encode
from triptych.ssl.shared.network import SiameseNetwork
from triptych.ssl.shared.params import SSLParams
from triptych.ssl.shared.recipes import recipe
from triptych.ssl.shared.views import Views
from triptych.training.objective import to_float

CPU = torch.device("cpu")
KEPT, MODEL = "snapshots/ssl/simsiam", "models/ssl/simsiam"
LOSSES = {0: -0.5, 1: -0.5}

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
    classes = knn_classes(test["backbone"], train["backbone"], torch.from_numpy(np.array(data.train.labels)), k=5)
    run = measured(trained)["seeds"][1]
    assert run["knn_accuracy"] == pytest.approx((classes.numpy() == data.test.labels).mean())
    assert run["embedding_std"] == pytest.approx(embedding_std(test["projector"]), rel=1e-5)
    assert run["effective_rank"] == pytest.approx(effective_rank(test["projector"]), rel=1e-5)
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


def test_the_numbers_are_the_models_even_if_its_last_kept_weights_differ(trained, tmp_path):
    """The kept weights of earlier epochs are loaded for the course alone."""
    kept = tmp_path / "snapshots"
    shutil.copytree(trained / KEPT, kept)
    for folder in (kept, kept / "seed_1"):
        save_weights(folder / "epoch_0001.safetensors", constant(network(trained / MODEL)))
    results = measures(trained).measure(trained / MODEL, kept, LOSSES)
    of_the_stage = measured(trained)["seeds"]
    assert [one.numbers["embedding_std"] for one in results] == [run["embedding_std"] for run in of_the_stage]
    assert [one.course[0]["test_embedding_std"] < 1e-6 for one in results] == [True, True]


def test_neighbours_are_sought_by_the_features_that_params_name(trained):
    data, net = load(trained / "data/ssl"), network(trained / MODEL)
    with torch.no_grad():
        bank, queries = (
            net(to_float(torch.from_numpy(np.array(split.images))))[0] for split in (data.train, data.test)
        )
    classes = knn_classes(queries, bank, torch.from_numpy(np.array(data.train.labels)), k=5)
    results = measures(trained, features="projector").measure(trained / MODEL, trained / KEPT, LOSSES)
    accuracy = pytest.approx((classes.numpy() == data.test.labels).mean(), abs=1 / TEST)
    assert results[0].course[-1]["knn_accuracy"] == results[0].correct["knn"].mean() == accuracy


# --- Collapse ---


def constant(net: SiameseNetwork) -> SiameseNetwork:
    """The same network, whose projections are all one point."""
    last = net.projector[-1]
    net.projector[-2].weight.data.zero_()
    last.running_mean.zero_()
    last.running_mean[0] = -1.0
    return net


def measures(folder: Path, features: str = "backbone") -> SSLMeasures:
    params = read(folder / "params.yaml", ssl=SSLParams, evaluation=EvaluationParams)
    ssl = params.evaluation.ssl
    knn = ssl.knn.model_copy(update={"features": features})
    arrays = read_arrays(folder / "evaluations/ssl_baselines/results.npz")
    return SSLMeasures(
        variant="simsiam",
        dataset=load(folder / "data/ssl"),
        views=Views(recipe(params.ssl, "simsiam").views),
        settings=params.evaluation.model_copy(update={"ssl": ssl.model_copy(update={"knn": knn})}),
        seeds=range(2),
        baselines={name: arrays[f"{name}_correct"] for name in BASELINES},
        device=CPU,
    )


def test_a_collapsed_network_is_named_since_its_epoch(trained, tmp_path):
    models, kept = tmp_path / "models", tmp_path / "snapshots"
    shutil.copytree(trained / MODEL, models)
    shutil.copytree(trained / KEPT, kept)
    for folder in (models, models / "seed_1"):
        save_weights(folder / "model.safetensors", constant(network(folder)))
    one = measures(trained)
    results = one.measure(models, kept, LOSSES)
    summary = one.summary(results)
    assert summary["collapsed"] and summary["collapse_kind"] == "complete"
    assert summary["embedding_std"] == pytest.approx(0, abs=1e-6)
    assert summary["collapsed_since_epoch"] == 2  # the weights kept of the epoch before are those of the training
    assert all(run["collapsed"] for run in summary["seeds"])
    assert one.course(results).query("epoch == 2")["test_embedding_std"].max() < 1e-6


def test_final_losses_are_those_of_each_seeds_last_epoch(trained, tmp_path):
    table = trained / "plots/ssl/simsiam_training.csv"
    history = pd.read_csv(table)
    expected = {seed: history.query(f"seed == {seed} and epoch == 2")["loss"].item() for seed in (0, 1)}
    assert final_losses(table) == expected
    (tmp_path / "damaged.csv").write_text("epoch,seed\n1,0\n")
    with pytest.raises(InputError, match=r"damaged\.csv: cannot be read"):
        final_losses(tmp_path / "damaged.csv")
