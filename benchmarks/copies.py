"""Test whether generated images copy training images, by their distance to the nearest training image.

    python benchmarks/copies.py

Needs the outputs of `dvc repro sample@vae sample@ddpm`. Samples of a model that memorises are closer to a training
image than new images from the same distribution are. For each set of samples, prints the median distance to the nearest
training image and the percentage that is closer than 99 % of the test images, in pixels and in the judge's features.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from triptych.core.errors import one_line_errors
from triptych.core.files import read_arrays
from triptych.data.storage import load
from triptych.judge.measure import Judge
from triptych.machine.device import machine
from triptych.params import check
from triptych.report.formatting import PERCENT, written

KINDS = {
    "VAE, N(0, I)": ("vae", "samples"),
    "VAE, fitted prior": ("vae", "fitted_samples"),
    "DDPM": ("ddpm", "samples"),
    "DDPM, guided": ("ddpm", "guided"),
}
RARE = 0.01  # fraction of test images below the distance limit
BLOCK = 250  # images per block


def nearest(images: Tensor, bank: Tensor) -> np.ndarray:
    """Return the Euclidean distance (N,) of each of the images (N, d) to its nearest neighbour in a bank (M, d)."""
    return torch.cat([torch.cdist(part, bank).amin(dim=1) for part in images.split(BLOCK)]).numpy()


def main() -> None:
    params = check()
    drawn = {study: read_arrays(Path("samples") / study / "images.npz") for study in ("vae", "ddpm")}
    dataset = load("data/generative")
    with machine(params.runtime) as place:
        judge = Judge.load(Path("models/classifier"), place.device, params.evaluation.batch_size)

        def pixels(images: np.ndarray) -> Tensor:
            return torch.from_numpy(np.array(images)).flatten(1).float() / 255

        def features(images: np.ndarray) -> Tensor:
            return torch.from_numpy(judge(images).features).float()

        columns = {"pixels": pixels, "judge's features": features}
        print("| images | " + " | ".join(f"{name}: median | {name}: nearer than 1 %" for name in columns) + " |")
        print("|---" * (1 + 2 * len(columns)) + "|")
        banks = {name: of(dataset.train.images) for name, of in columns.items()}
        limits: dict[str, float] = {}  # per column, from the test images, which are first
        kinds = {"test images": dataset.test.images, **{kind: drawn[a][b] for kind, (a, b) in KINDS.items()}}
        for kind, images in kinds.items():
            found = {name: nearest(of(images), banks[name]) for name, of in columns.items()}
            limits = limits or {name: float(np.quantile(near, RARE)) for name, near in found.items()}
            cells = (
                f"{written(float(np.median(near)), '.2f')} | {written(float((near < limits[name]).mean()), PERCENT)}"
                for name, near in found.items()
            )
            print(f"| {kind} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    with one_line_errors():
        main()
