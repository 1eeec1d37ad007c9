"""Every method, by its stage: two processes, under torchrun or as workers, train what one trains with the same batch.

As a script this file is what each process runs, for all methods one after the other: `torchrun FILE FOLDER`.
"""

import json
import os
import runpy
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.distributed as dist
import yaml
from safetensors.torch import load_file
from scripts import run_script
from tiny_ssl import EPOCHS, ROOT, project, tiny_params
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from triptych.machine import processes as forks
from triptych.ssl.shared.recipes import names

INIT = dist.init_process_group
HEAD = {"projector_hidden": [16], "projector_dim": 8}
WITH_PREDICTOR = HEAD | {"predictor_hidden": 4}
SMALL_CROPS = {"small_crops": 1, "small_crop_scale": [0.1, 0.3], "small_crop_size": 8}
# Each method's own settings: everything is on that could differ between processes.
RECIPES = {
    "asymsiam": WITH_PREDICTOR
    | {"source": {}, "target": {"jitter": 0.0}, "source_views": 2, "scale_mix": True, "mean_encodings": 2}
    | SMALL_CROPS,
    "barlow_twins": HEAD | {"off_diagonal": 0.02},
    "byol": WITH_PREDICTOR | {"projector_norm": False, "momentum": 0.9, "momentum_end": 1.0},
    "dssl": WITH_PREDICTOR | {"heavy": {"operations": 2, "magnitude": 9.0}, "alpha": 0.1},
    "lejepa": HEAD | {"sigreg_weight": 0.3, "directions": 16},
    "simclr": HEAD | {"temperature": 0.2},
    "simsiam": WITH_PREDICTOR | {"predictor": "mlp", "stop_gradient": True, "symmetric": True, "momentum": 0.0},
    "vicreg": HEAD | {"invariance_weight": 25.0, "variance_weight": 25.0, "covariance_weight": 1.0, "gamma": 1.0},
}
# Their `embedding_std` is that of all rows; the others' is each process's own, and then averaged.
GATHERING = {"barlow_twins", "lejepa", "simclr", "vicreg"}
# Plain momentum: Adam would divide by gradients near zero, and turn their rounding into steps of full size.
TRAINING = {
    "epochs": EPOCHS,
    "batch_size": 32,
    "optimiser": {"name": "sgd", "learning_rate": 0.0003, "momentum": 0.9, "weight_decay": 0.001},
    "schedule": {"name": "constant", "warmup_steps": 0},
    "gradient_clip": 0.0,
    "ema_halflife_images": 0,
}


def train_every_method(folder: Path) -> None:
    """Run the stage of each method in the project's folder, as each process does."""
    os.chdir(folder)
    place = next(rendezvous("env://")) if "WORLD_SIZE" in os.environ else None
    for name in names():
        if place:
            # torchrun's store still holds the addresses of the last method's group: each group needs keys of its own.
            store, rank, world = place
            own = dist.PrefixStore(name, store)
            dist.init_process_group = partial(INIT, store=own, rank=rank, world_size=world)
        runpy.run_path(str(ROOT / "stages/train_ssl.py"))["main"](name)


def every_method(folder: Path, threads: int = 1) -> Path:
    """A project with a variant of each method, one seed each, and as many workers as threads."""
    tree = tiny_params(threads)
    tree["runtime"]["precision"] = "float32"
    tree["ssl"]["shared"] |= {"seeds": 1, "snapshot_every": 1}
    # No flat images: all their pixels would pass a ReLU together or not, as the rounding of a mean decides.
    tree["ssl"]["shared"]["backbone"]["standardise"] = True
    tree["ssl"]["shared"]["views"]["brightness"] = 0.0
    training = TRAINING | {"workers": threads}
    tree["ssl"]["methods"] = {name: RECIPES[name] | {"training": training} for name in names()}
    tree["ssl"]["variants"] = {name: {"method": name} for name in names()}
    (project(folder) / "params.yaml").write_text(yaml.safe_dump(tree))
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """The project after one process has trained."""
    folder = every_method(tmp_path_factory.mktemp("alone"))
    done = run_script(Path(__file__), str(folder), folder=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module", params=["launcher", "workers"])
def together(request, tmp_path_factory) -> Path:
    """The project after two processes have trained."""
    if request.param == "launcher":
        return launched(every_method(tmp_path_factory.mktemp("launched")))
    if not forks.AVAILABLE:
        pytest.skip("workers are forked, on Linux alone")
    folder = every_method(tmp_path_factory.mktemp("workers"), threads=2)
    done = run_script(Path(__file__), str(folder), folder=folder)
    assert done.returncode == 0, done.stderr
    timing = json.loads((folder / "metrics/timing/ssl/simsiam.json").read_text())
    assert (timing["processes"], timing["threads"]) == (2, 1)
    return folder


def launched(folder: Path) -> Path:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    path = os.pathsep.join([os.environ["PYTHONPATH"], str(ROOT / "tests")])
    done = subprocess.run(
        [*launcher, __file__, str(folder)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder


def parted(file: Path) -> tuple[Tensor, Tensor]:
    """The trained weights, and the running statistics of batch norm, each as one vector."""
    state = load_file(file)
    running = {name for name in state if name.rsplit(".", 1)[-1].startswith(("running_", "num_"))}
    weights = torch.cat([state[name].flatten() for name in state if name not in running])
    return weights, torch.cat([state[name].flatten().float() for name in sorted(running)])


@pytest.mark.parametrize("name", names())
def test_two_processes_train_the_weights_that_one_trains(name, alone, together):
    """But for a hundredth of what one epoch changes: where rounding moves a pixel past a ReLU, gradients jump."""
    model = Path("models/ssl") / name / "model.safetensors"
    (expected, statistics), (found, found_statistics) = parted(alone / model), parted(together / model)
    earlier, _ = parted(alone / f"snapshots/ssl/{name}/epoch_0001.safetensors")
    change = (expected - earlier).norm()
    assert 0 < change < torch.inf
    assert (found - expected).norm() < 0.01 * change
    torch.testing.assert_close(found_statistics, statistics, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", names())
def test_two_processes_write_the_losses_that_one_writes(name, alone, together):
    expected, found = (pd.read_csv(folder / f"plots/ssl/{name}_training.csv") for folder in (alone, together))
    assert list(found) == list(expected) and len(found) == EPOCHS
    for column in expected.select_dtypes("number"):
        close = {"abs": 0.1} if column == "embedding_std" and name not in GATHERING else {"rel": 1e-4, "abs": 1e-4}
        assert np.isfinite(expected[column]).all()
        assert found[column].tolist() == pytest.approx(expected[column].tolist(), **close), column


if __name__ == "__main__":
    train_every_method(Path(sys.argv[1]))
