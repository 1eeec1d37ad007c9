"""The stage that trains a variant, over two seeds: what it writes, and that a kill changes nothing."""

import json
import signal
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from shell import left_behind
from tiny_ssl import BATCH, EPOCHS, TRAIN, project, stage, tiny_params, train_and_measure

from triptych.machine import processes as forks


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A project in which SimSiam was trained by its stage."""
    folder = project(tmp_path_factory.mktemp("whole"))
    done = stage(folder, "train_ssl.py", "simsiam")
    assert done.returncode == 0, done.stderr
    return folder


def weights(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.safetensors"))}


def test_the_stage_trains_each_seed_and_writes_one_table(trained):
    models = weights(trained / "models/ssl/simsiam")
    assert list(models) == ["model.safetensors", "seed_1/model.safetensors"]
    assert models["model.safetensors"] != models["seed_1/model.safetensors"]
    table = pd.read_csv(trained / "plots/ssl/simsiam_training.csv")
    assert table.groupby("seed")["epoch"].apply(list).to_dict() == {0: [1, 2], 1: [1, 2]}
    assert list(table) == ["epoch", "images", "loss", "embedding_std", "learning_rate", "variant", "seed"]
    assert table["loss"].between(-1, 1).all()
    assert len(pd.read_csv(trained / "plots/ssl/simsiam_timing.csv")) == 2 * EPOCHS
    timing = json.loads((trained / "metrics/timing/ssl/simsiam.json").read_text())
    assert timing["runs"] == 2 and timing["seconds_total"] == pytest.approx(2 * EPOCHS * timing["seconds_per_epoch"])
    assert not list((trained / "checkpoints").rglob("*.safetensors"))


def test_the_weights_of_each_kept_epoch_of_each_seed_are_there_and_the_last_are_the_model_s(trained):
    kept = weights(trained / "snapshots/ssl/simsiam")
    assert list(kept) == [f"{folder}epoch_000{epoch}.safetensors" for folder in ("", "seed_1/") for epoch in (1, 2)]
    models = weights(trained / "models/ssl/simsiam")
    assert kept["epoch_0002.safetensors"] == models["model.safetensors"]
    assert kept["seed_1/epoch_0002.safetensors"] == models["seed_1/model.safetensors"]


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
    for part in ("models", "snapshots"):
        assert weights(folder / part) == weights(other / part)
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
    assert "threads 1, processes 1, " in announced(done.stderr) and "runs_at_once 2" in announced(done.stderr)
    assert timing["seconds_total"] == pytest.approx(EPOCHS * timing["seconds_per_epoch"])
    assert not list((folder / "checkpoints").rglob("*.safetensors"))


def announced(said: str) -> str:
    """Return the line in which a stage announces device, threads and processes."""
    [line] = [line for line in said.splitlines() if line.startswith("device ")]
    return line


KILL_THE_STAGE_AFTER_AN_EPOCH = """
import os, signal, threading, time
from pathlib import Path
def wait():
    while len(list(Path("checkpoints").rglob("latest.safetensors"))) < 2:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
threading.Thread(target=wait, daemon=True).start()
"""


@pytest.mark.skipif(not forks.AVAILABLE, reason="workers are forked, on Linux alone")
def test_workers_end_with_their_stage_and_are_taken_up_again(trained, tmp_path):
    folder = project(tmp_path, threads=2)
    done = stage(folder, "train_ssl.py", "simsiam", before=KILL_THE_STAGE_AFTER_AN_EPOCH)
    assert done.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 30
    while left_behind(folder):
        assert time.monotonic() < deadline, "a worker goes on without its stage"
    done = stage(folder, "train_ssl.py", "simsiam")
    assert done.returncode == 0, done.stderr
    same_results(folder, trained)


# --- Seeds side by side, each shared by workers ---


@pytest.mark.skipif(not forks.AVAILABLE, reason="workers are forked, on Linux alone")
@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_cores_changes_no_bit(tmp_path, workers):
    results = []
    for cores in (1, 2, 4):
        folder = project(tmp_path / str(cores), threads=cores)
        tree = tiny_params(threads=cores)
        tree["ssl"]["methods"]["simsiam"]["training"]["workers"] = workers
        (folder / "params.yaml").write_text(yaml.safe_dump(tree))
        if workers == 1:  # measuring has no workers
            train_and_measure(folder)
            metrics = (folder / "metrics/ssl/simsiam.json").read_bytes()
        else:
            metrics = stage(folder, "train_ssl.py", "simsiam").returncode
        results.append(weights(folder) | {"metrics": metrics})
    assert len(results[0]) > 2 and results[1] == results[0] and results[2] == results[0]


@pytest.mark.skipif(not forks.AVAILABLE, reason="workers are forked, on Linux alone")
def test_a_stage_whose_worker_is_killed_ends_bit_identical_to_one_that_is_not(tmp_path):
    whole, folder = project(tmp_path / "whole", threads=4), project(tmp_path / "killed", threads=4)
    tree = tiny_params(threads=4)
    tree["ssl"]["methods"]["simsiam"]["training"]["workers"] = 2
    for path in (whole, folder):
        (path / "params.yaml").write_text(yaml.safe_dump(tree))
    assert stage(whole, "train_ssl.py", "simsiam").returncode == 0
    done = stage(folder, "train_ssl.py", "simsiam", before=KILL_DURING_SEED_1)
    assert done.returncode == 2 and "SIGKILL" in done.stderr
    done = stage(folder, "train_ssl.py", "simsiam")
    assert done.returncode == 0, done.stderr
    assert "ssl/simsiam seed 1: resuming at step" in done.stderr
    same_results(folder, whole)
    timing = json.loads((folder / "metrics/timing/ssl/simsiam.json").read_text())
    assert [timing[key] for key in ("runs", "runs_at_once", "processes", "threads")] == [2, 2, 2, 1]
    assert "threads 1, processes 2, " in announced(done.stderr) and "runs_at_once 2" in announced(done.stderr)


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
