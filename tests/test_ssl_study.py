"""A variant of the third study from its training to its numbers, over two seeds."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from triptych.core.seeds import fold
from triptych.core.schema import read
from triptych.data.batches import to_float
from triptych.data.storage import Dataset, Split, load, save
from triptych.measures.collapse import effective_rank, embedding_std
from triptych.measures.neighbours import knn_classes
from triptych.measures.params import EvaluationParams
from triptych.measures.representation import encode, watched_epochs, watcher
from triptych.measures.ssl import Settings, SSLStudy
from triptych.ssl.shared.network import SiameseNetwork
from triptych.ssl.shared.params import SSLParams

ROOT = Path(__file__).parents[1]
TRAIN, TEST, EPOCHS, BATCH = 96, 48, 2, 16
CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("one_thread")


def digits(labelled: bool = True) -> Dataset:
    """Images whose class is their brightness, so that even a short run has something to find."""
    stream = np.random.default_rng(0)

    def split(count: int) -> Split:
        labels = np.arange(count) % 3
        pixels = stream.integers(0, 60, (count, 3, 16, 16)) + 90 * labels[:, None, None, None]
        return Split(pixels.astype(np.uint8), labels if labelled else np.full(count, -1))

    return Dataset(split(TRAIN), split(TEST), ["dark", "grey", "bright"] if labelled else [], "drawn", "none")


def tiny_params(threads: int = 1) -> dict:
    """params.yaml with everything about the third study made tiny. Two threads train two seeds side by side."""
    tree = yaml.safe_load((ROOT / "params.yaml").read_text())
    tree["runtime"] |= {"threads": threads, "device": "cpu"}
    tree["evaluation"]["bootstrap"] = 20
    study = tree["ssl"]
    study["shared"] |= {
        "seeds": 2,
        "backbone": {"name": "small_resnet", "width": 4, "blocks": [1, 1], "stem_stride": 2, "standardise": False},
    }
    study["shared"]["knn"] |= {"every_epochs": 2, "neighbours": 5}
    study["evaluation"]["pairs"] = 20
    study["methods"]["simsiam"] |= {"projector_hidden": [16], "predictor_hidden": 4}
    study["methods"]["simsiam"]["training"] |= {"epochs": EPOCHS, "batch_size": BATCH}
    for variant in study["variants"].values():
        variant["projector_dim"] = 8
    return tree


def project(folder: Path, labelled: bool = True, threads: int = 1) -> Path:
    """A folder in which the stage scripts run."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(tiny_params(threads)))
    save(digits(labelled), folder / "data/ssl")
    return folder


def stage(folder: Path, script: str, *arguments: str, before: str = "") -> subprocess.CompletedProcess:
    """Runs a stage script, after `before` in the same process."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    code = f"import runpy, sys\n{before}\nsys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", code, str(ROOT / "stages" / script), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A project in which SimSiam was trained and evaluated by its stages."""
    folder = project(tmp_path_factory.mktemp("whole"))
    for script in ("train_ssl.py", "evaluate_ssl.py"):
        done = stage(folder, script, "simsiam")
        assert done.returncode == 0, done.stderr
    return folder


def weights(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("model.safetensors"))}


def network(folder: Path) -> SiameseNetwork:
    config = json.loads((folder / "config.json").read_text())
    made = SiameseNetwork(**config["network"])
    made.load_state_dict(load_file(folder / "model.safetensors"))
    return made.eval()


def test_the_stage_trains_each_seed_and_writes_one_table(trained):
    models = weights(trained / "models/ssl/simsiam")
    assert list(models) == ["model.safetensors", "seed_1/model.safetensors"]
    assert models["model.safetensors"] != models["seed_1/model.safetensors"]
    table = pd.read_csv(trained / "plots/ssl/simsiam_training.csv")
    assert table.groupby("seed")["epoch"].apply(list).to_dict() == {0: [1, 2], 1: [1, 2]}
    assert {"loss", "embedding_std", "knn_accuracy", "effective_rank", "variant"} <= set(table)
    assert table["loss"].between(-1, 1).all() and table["knn_accuracy"].between(0, 1).all()
    assert len(pd.read_csv(trained / "plots/ssl/simsiam_timing.csv")) == 2 * EPOCHS
    timing = json.loads((trained / "metrics/timing/ssl/simsiam.json").read_text())
    assert timing["runs"] == 2 and timing["seconds_total"] == pytest.approx(2 * EPOCHS * timing["seconds_per_epoch"])
    assert not list((trained / "checkpoints").rglob("*.safetensors"))


KILL_DURING_SEED_1 = """
import os, signal
from triptych.training.loop import Trainer
whole = Trainer._end_epoch
def end_epoch(self, epoch):
    if self.plan.seed == 1 and epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    whole(self, epoch)
Trainer._end_epoch = end_epoch
"""


def test_a_stage_killed_in_its_second_seed_keeps_the_first_and_ends_bit_identical(trained, tmp_path):
    folder = project(tmp_path / "killed")
    assert stage(folder, "train_ssl.py", "simsiam", before=KILL_DURING_SEED_1).returncode == -signal.SIGKILL
    done = stage(folder, "train_ssl.py", "simsiam")
    assert done.returncode == 0, done.stderr
    steps = EPOCHS * (TRAIN // BATCH)
    # The first seed had ended: it is neither trained again nor resumed.
    assert "seed 0" not in done.stderr
    assert f"ssl/simsiam seed 1: resuming at step {steps // 2} of {steps}" in done.stderr
    assert json.loads((folder / "metrics/timing/ssl/simsiam.json").read_text())["resumed"] == 1
    same_results(folder, trained)


def same_results(folder: Path, other: Path) -> None:
    assert weights(folder / "models") == weights(other / "models")
    table = "plots/ssl/simsiam_training.csv"
    assert (folder / table).read_text() == (other / table).read_text()


# --- Seeds side by side ---


def test_two_seeds_side_by_side_train_what_they_train_one_after_another(trained, tmp_path):
    folder = project(tmp_path, threads=2)
    done = stage(folder, "train_ssl.py", "simsiam")
    assert done.returncode == 0, done.stderr
    same_results(folder, trained)
    timing = json.loads((folder / "metrics/timing/ssl/simsiam.json").read_text())
    assert (timing["runs"], timing["runs_at_once"], timing["threads"], timing["resumed"]) == (2, 2, 1, 0)
    assert timing["seconds_total"] == pytest.approx(EPOCHS * timing["seconds_per_epoch"])
    assert not list((folder / "checkpoints").rglob("*.safetensors"))


KILL_THE_STAGE_AFTER_AN_EPOCH = """
import os, signal, threading, time
from pathlib import Path
def wait():
    while len(list(Path("checkpoints").rglob("latest.safetensors"))) < 2:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
threading.Thread(target=wait, daemon=True).start()
"""


def workers(folder: Path) -> list[int]:
    """Processes that run a stage in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve() == folder.resolve() and b"train_ssl" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="looks for processes in /proc")
def test_workers_end_with_their_stage_and_are_taken_up_again(trained, tmp_path):
    folder = project(tmp_path, threads=2)
    done = stage(folder, "train_ssl.py", "simsiam", before=KILL_THE_STAGE_AFTER_AN_EPOCH)
    assert done.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 30
    while workers(folder):
        assert time.monotonic() < deadline, "a worker goes on without its stage"
    done = stage(folder, "train_ssl.py", "simsiam")
    assert done.returncode == 0, done.stderr
    same_results(folder, trained)


def test_what_stops_a_worker_stops_the_stage_in_one_line(tmp_path):
    folder = project(tmp_path, threads=2)
    tree = tiny_params(threads=2)
    tree["ssl"]["methods"]["simsiam"]["training"]["optimiser"]["learning_rate"] = 1e30
    (folder / "params.yaml").write_text(yaml.safe_dump(tree))
    done = stage(folder, "train_ssl.py", "simsiam")
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if "error:" in line]
    assert errors and all("not finite at step" in line or "weights are not finite" in line for line in errors)
    assert not (folder / "models").exists()


def test_another_variant_or_a_changed_one_starts_afresh(tmp_path):
    folder = project(tmp_path / "changed")
    assert stage(folder, "train_ssl.py", "simsiam", before=KILL_DURING_SEED_1).returncode == -signal.SIGKILL
    tree = tiny_params()
    tree["ssl"]["variants"]["simsiam"]["symmetric"] = False
    (folder / "params.yaml").write_text(yaml.safe_dump(tree))
    done = stage(folder, "train_ssl.py", "simsiam")
    assert done.returncode == 0 and "resuming" not in done.stderr


def test_an_unknown_variant_is_refused_in_one_line(tmp_path):
    folder = project(tmp_path)
    for script in ("train_ssl.py", "evaluate_ssl.py"):
        done = stage(folder, script, "simsian")
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith(
            "error: params.yaml: 'ssl.variants' has no 'simsian'; did you mean"
        )


# --- The numbers ---


def measured(folder: Path) -> dict:
    return json.loads((folder / "metrics/ssl/simsiam.json").read_text())


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
    train, test = (encode(net, split.images, CPU) for split in (data.train, data.test))
    classes = knn_classes(test.backbone, train.backbone, torch.from_numpy(np.array(data.train.labels)), k=5)
    run = measured(trained)["seeds"][1]
    assert run["knn_accuracy"] == pytest.approx((classes.numpy() == data.test.labels).mean())
    assert run["embedding_std"] == pytest.approx(embedding_std(test.projector), rel=1e-5)
    assert run["effective_rank"] == pytest.approx(effective_rank(test.projector), rel=1e-5)
    results = np.load(trained / "evaluations/ssl/simsiam/results.npz", allow_pickle=False)
    np.testing.assert_array_equal(results["knn_correct"][1], classes.numpy() == data.test.labels)
    assert results["linear_correct"].shape == results["random_init_knn_correct"].shape == (2, TEST)
    # The last epoch's row of the training table says the same of the same network.
    table = pd.read_csv(trained / "plots/ssl/simsiam_training.csv")
    last = table[(table["seed"] == 1) & (table["epoch"] == EPOCHS)].iloc[0]
    assert last["knn_accuracy"] == pytest.approx(run["knn_accuracy"])
    assert last["loss"] == pytest.approx(run["final_loss"])


def test_the_floor_is_the_encoder_from_which_training_started(trained):
    data = load(trained / "data/ssl")
    config = json.loads((trained / "models/ssl/simsiam/seed_1/config.json").read_text())
    torch.manual_seed(fold(1, "weights"))
    start = SiameseNetwork(**config["network"]).eval()
    train, test = (encode(start, split.images, CPU) for split in (data.train, data.test))
    classes = knn_classes(test.backbone, train.backbone, torch.from_numpy(np.array(data.train.labels)), k=5)
    found = measured(trained)["seeds"][1]["random_init_knn_accuracy"]
    assert found == pytest.approx((classes.numpy() == data.test.labels).mean())


def test_the_sheet_shows_the_originals_and_other_views_of_them(trained):
    views = np.load(trained / "evaluations/ssl/simsiam/results.npz", allow_pickle=False)["views"]
    originals = np.asarray(load(trained / "data/ssl").train.images[: len(views)])
    assert views.dtype == np.uint8
    np.testing.assert_array_equal(views[:, 0], originals)
    assert all((views[:, 1] != views[:, number]).any() for number in range(2, views.shape[1]))


def test_without_labels_what_needs_none_is_measured(tmp_path):
    folder = project(tmp_path, labelled=False)
    for script in ("train_ssl.py", "evaluate_ssl.py"):
        done = stage(folder, script, "simsiam")
        assert done.returncode == 0, done.stderr
    found = measured(folder)
    assert not [key for key in found if "accuracy" in key] and found["intervals"] == {}
    assert {"embedding_std", "effective_rank", "final_loss", "collapsed"} <= found.keys()
    assert "no labels" in done.stderr
    assert "knn_accuracy" not in pd.read_csv(folder / "plots/ssl/simsiam_training.csv")


# --- Collapse ---


def constant(net: SiameseNetwork) -> SiameseNetwork:
    """The same network, whose projections are all one point."""
    last = net.projector[-1]
    net.projector[-2].weight.data.zero_()
    last.running_mean.zero_()
    last.running_mean[0] = -1.0
    return net


def study(folder: Path) -> SSLStudy:
    params = read(folder / "params.yaml", ssl=SSLParams, evaluation=EvaluationParams)
    settings = Settings(0, params.ssl.shared, params.ssl.evaluation, params.evaluation)
    return SSLStudy("simsiam", load(folder / "data/ssl"), settings, CPU)


def test_a_collapsed_network_is_diagnosed_since_its_epoch(trained, tmp_path):
    from triptych.core.model_files import save_weights

    shutil.copytree(trained / "models/ssl/simsiam", tmp_path / "models")
    for folder in (tmp_path / "models", tmp_path / "models/seed_1"):
        save_weights(folder / "model.safetensors", constant(network(folder)))
    table = pd.read_csv(trained / "plots/ssl/simsiam_training.csv")
    table["test_embedding_std"] = [0.9, 0.1, 0.05, 0.1]
    table["effective_rank"] = 100.0
    table.to_csv(tmp_path / "training.csv", index=False)
    study(trained).measure(
        tmp_path / "models", tmp_path / "training.csv", tmp_path / "metrics.json", tmp_path / "results.npz"
    )
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found["collapsed"] and found["collapse_kind"] == "complete"
    assert found["embedding_std"] == pytest.approx(0, abs=1e-6)
    assert found["collapsed_since_epoch"] == 2  # by then the other seed, too, was below
    assert all(run["collapsed"] for run in found["seeds"])


def test_the_watch_measures_what_the_evaluation_measures(trained):
    data, net = load(trained / "data/ssl"), network(trained / "models/ssl/simsiam")
    params = read(trained / "params.yaml", ssl=SSLParams)
    seen = watcher(data, params.ssl.shared.knn, CPU)(net, 2)
    run = measured(trained)["seeds"][0]
    assert seen["knn_accuracy"] == pytest.approx(run["knn_accuracy"])
    assert seen["test_embedding_std"] == pytest.approx(run["embedding_std"], rel=1e-5)


def test_the_watch_encodes_in_the_precision_of_the_training(trained):
    data, net = load(trained / "data/ssl"), network(trained / "models/ssl/simsiam")
    knn = read(trained / "params.yaml", ssl=SSLParams).ssl.shared.knn
    exact = watcher(data, knn, CPU)(net, 1)
    half = watcher(data, knn, CPU, partial(torch.autocast, "cpu", torch.bfloat16))(net, 1)
    assert half["test_embedding_std"] != exact["test_embedding_std"]
    assert half["test_embedding_std"] == pytest.approx(exact["test_embedding_std"], rel=0.02)


def test_neighbours_are_sought_by_the_features_that_params_name(trained):
    data, net = load(trained / "data/ssl"), network(trained / "models/ssl/simsiam")
    knn = read(trained / "params.yaml", ssl=SSLParams).ssl.shared.knn.model_copy(update={"features": "projector"})
    with torch.no_grad():
        bank, queries = (
            net(to_float(torch.from_numpy(np.array(split.images))))[0] for split in (data.train, data.test)
        )
    classes = knn_classes(queries, bank, torch.from_numpy(np.array(data.train.labels)), k=5)
    expected = (classes.numpy() == data.test.labels).mean()
    assert watcher(data, knn, CPU)(net, 1)["knn_accuracy"] == pytest.approx(expected, abs=1 / TEST)


def test_the_first_and_the_last_epoch_are_always_watched():
    assert watched_epochs(3, 8) == (1, 3, 6, 8)
    assert watched_epochs(5, 1) == (1,)
    assert watched_epochs(2, 4) == (1, 2, 4)
