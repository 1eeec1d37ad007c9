"""Measures guidance of a trained DDPM by guides and weights: how `sampling.ddpm.guidance` was chosen.

    python benchmarks/guidance.py --samples 1000 --epochs 2 5 7 9 --weights 1.5 2 2.5 3

Needs what `dvc repro classifier ddpm` makes: models/classifier, models/ddpm and snapshots/ddpm. No test image is looked
at: samples are held against training images held out, further ones of the source besides those that train. Prints a row
of the table as each guidance ends, the first of them without any.
"""

import argparse
from pathlib import Path

import numpy as np
from held_out import held_out
from measured import Measured, heading

from triptych.core.errors import one_line_errors
from triptych.ddpm.objective import load_trained
from triptych.ddpm.sample import Autoguidance, load_guide
from triptych.ddpm.samplers import Denoising, draw_images
from triptych.machine.device import Machine, machine
from triptych.nn.weights import snapshot_files
from triptych.params import Params, check
from triptych.training.objective import to_uint8

MODEL, SNAPSHOTS = Path("models/ddpm"), Path("snapshots/ddpm")


def drawn(method: Denoising, count: int, shape: tuple[int, int, int], params: Params, place: Machine) -> np.ndarray:
    """So many samples of a shape (C, H, W), uint8; all methods start from the same noise."""
    sampling = params.sampling
    sampler = sampling.ddpm.sampler
    with place.autocast():
        images = draw_images(
            method, shape, count, sampler.name, sampler.steps, params.seed, sampling.batch_size, place.device
        )
    return to_uint8(images).numpy()


def main() -> None:
    """Draws and measures each guidance in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, required=True, help="images of each guidance")
    parser.add_argument("--epochs", type=int, nargs="+", required=True, help="whose weights guide")
    parser.add_argument("--weights", type=float, nargs="+", required=True, help="of the guidance; 1 is none")
    asked = parser.parse_args()
    params, kept = check(), snapshot_files(SNAPSHOTS)
    with machine(params.runtime) as place:
        guides = {epoch: load_guide(MODEL, epoch, kept, place.device) for epoch in asked.epochs}
        method, measured = load_trained(MODEL, place.device), Measured(held_out(params), params, place)
        shape = measured.real.shape[1:]
        print(heading("guide", "weight"))
        print(f"| none | 1 | {measured.cells(drawn(method, asked.samples, shape, params, place))} |", flush=True)
        for epoch, guide in guides.items():
            for weight in asked.weights:
                guided = Autoguidance(method, guide, weight)
                cells = measured.cells(drawn(guided, asked.samples, shape, params, place))
                print(f"| epoch {epoch} | {weight:g} | {cells} |", flush=True)


if __name__ == "__main__":
    with one_line_errors():
        main()
