"""A project with tiny untrained models of every type, their data, and the committed metrics."""

import shutil
from pathlib import Path

import numpy as np
import tiny_generative
import tiny_ssl
import torch
from PIL import Image

from triptych.data.sources.build import save
from triptych.judge.model import Classifier
from triptych.nn.weights import save_model, seed_folder
from triptych.ssl.shared.network import SiameseNetwork

ROOT = Path(__file__).parents[1]
ENCODER = {
    "in_channels": 3,
    "backbone": {"name": "small_resnet", "width": 8, "blocks": [1, 1], "stem_stride": 2, "standardise": True},
    "projector": {"hidden": [16], "dim": 8},
    "predictor": {"hidden": 4},
}
JUDGE = {"in_channels": 3, "classes": 10, "width": 8, "blocks": [1, 1], "stem_stride": 2}
SEEDS = 2


def save_encoder(folder: Path, seed: int, in_channels: int = 3) -> SiameseNetwork:
    """Write an encoder with random weights, and batch norms that are not the identity."""
    torch.manual_seed(seed)
    sizes = ENCODER | {"in_channels": in_channels}
    network = SiameseNetwork(**sizes).train()
    with torch.no_grad():
        network(torch.randn(32, in_channels, 16, 16))
    save_model(folder, network, {"network": sizes})
    return network.eval()


def encoders(folder: Path) -> None:
    """Write the images of the third study, of 16 pixels per side, and one encoder of `simsiam` per seed."""
    save(tiny_ssl.digits(), folder / "data/ssl")
    models = folder / "models/ssl/simsiam"
    for seed in range(SEEDS):
        save_encoder(seed_folder(models, seed, first=0), seed)


def project(folder: Path) -> Path:
    """Write models of all three studies and the judge, with the params and metrics of this repository."""
    shutil.copy(ROOT / "params.yaml", folder)
    shutil.copytree(ROOT / "metrics", folder / "metrics")
    encoders(folder)
    shutil.copytree(tiny_generative.save_vae(folder / "vae").model, folder / "models/vae")
    shutil.copytree(tiny_generative.save_ddpm(folder / "ddpm").model, folder / "models/ddpm")
    torch.manual_seed(0)
    save_model(folder / "models/classifier", Classifier(**JUDGE), {"network": JUDGE})
    return folder


def pictures(folder: Path, count: int = 5) -> list[Path]:
    """Write images of several sizes to one folder per class; return their sorted paths."""
    stream = np.random.default_rng(0)
    paths = []
    for number in range(count):
        path = folder / ("a" if number < 2 else "b") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = (20 + number, 16 + 2 * number, 3)
        Image.fromarray(stream.integers(0, 256, size, dtype=np.uint8)).save(path)
        paths.append(path)
    return paths
