"""A project in which the stages of the third study run in seconds."""

import json
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import yaml
from safetensors.torch import load_file
from scripts import run_script

from triptych.data.sources.build import save
from triptych.data.storage import Dataset, Split
from triptych.ssl.shared.network import SiameseNetwork

ROOT = Path(__file__).parents[1]
TRAIN, TEST, EPOCHS, BATCH = 96, 48, 2, 16


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
    tree["evaluation"]["ssl"]["pairs"] = 20
    tree["evaluation"]["ssl"]["knn"]["neighbours"] = 5
    # Eight dimensions after two epochs: neither is a collapse here.
    tree["evaluation"]["ssl"]["collapse"] = {"embedding_std": 0.05, "effective_rank": 1.05}
    study = tree["ssl"]
    study["shared"] |= {
        "seeds": 2,
        "snapshot_every": 2,
        "backbone": {"name": "small_resnet", "width": 8, "blocks": [1, 1], "stem_stride": 2, "standardise": False},
    }
    study["methods"]["simsiam"] |= {"projector_hidden": [16], "projector_dim": 8, "predictor_hidden": 4}
    study["methods"]["simsiam"]["training"] |= {"epochs": EPOCHS, "batch_size": BATCH}
    study["variants"] = {"simsiam": {"method": "simsiam"}}
    return tree


def project(folder: Path, labelled: bool = True, threads: int = 1) -> Path:
    """A folder in which the stage scripts run."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(tiny_params(threads)))
    save(digits(labelled), folder / "data/ssl")
    return folder


def stage(folder: Path, script: str, *arguments: str, before: str = "") -> CompletedProcess[str]:
    """Runs a stage script, after `before` in the same process."""
    return run_script(ROOT / "stages" / script, *arguments, folder=folder, before=before)


def trained_project(folder: Path) -> Path:
    """The project after SimSiam was trained and measured by its stages."""
    train_and_measure(project(folder))
    return folder


def train_and_measure(folder: Path) -> str:
    """Runs the stages of SimSiam; what they said."""
    said = ""
    for script, *variant in (
        ("train_ssl.py", "simsiam"),
        ("evaluate_ssl_baselines.py",),
        ("evaluate_ssl.py", "simsiam"),
    ):
        done = stage(folder, script, *variant)
        assert done.returncode == 0, done.stderr
        said += done.stderr
    return said


def network(folder: Path) -> SiameseNetwork:
    config = json.loads((folder / "config.json").read_text())
    made = SiameseNetwork(**config["network"])
    made.load_state_dict(load_file(folder / "model.safetensors"))
    return made.eval()


def measured(folder: Path) -> dict:
    """The metrics of the project's variant."""
    return json.loads((folder / "metrics/ssl/simsiam.json").read_text())
