"""Measure the guidance of a trained DDPM with several guides and weights, to choose `sampling.ddpm.guidance`.

    python benchmarks/guidance.py --samples 1000 --epochs 2 5 7 9 --weights 1.5 2 2.5 3

Needs the outputs of `dvc repro classifier ddpm`: models/classifier, models/ddpm and snapshots/ddpm. Test images are not
used: samples are compared with held-out training images. Prints one row of the table per guide and weight, after a row
without guidance.
"""

import argparse
from pathlib import Path

import numpy as np
from held_out import held_out
from measured import Measured, heading

from triptych.core.errors import one_line_errors
from triptych.ddpm.objective import Denoising, load_trained
from triptych.ddpm.sample import Autoguidance, load_guide
from triptych.ddpm.samplers import draw_images
from triptych.machine.device import Machine, machine
from triptych.measures.images import to_uint8
from triptych.nn.weights import snapshot_files
from triptych.params import Params, check

MODEL, SNAPSHOTS = Path("models/ddpm"), Path("snapshots/ddpm")


def drawn(method: Denoising, count: int, shape: tuple[int, int, int], params: Params, place: Machine) -> np.ndarray:
    """Draw `count` samples uint8 of a shape (C, H, W). All methods start from the same noise."""
    sampling = params.sampling
    sampler = sampling.ddpm.sampler
    with place.autocast():
        images = draw_images(
            method, shape, count, sampler.name, sampler.steps, params.seed, sampling.batch_size, place.device
        )
    return to_uint8(images).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, required=True, help="number of samples per guide and weight")
    parser.add_argument("--epochs", type=int, nargs="+", required=True, help="epochs whose snapshots are guides")
    parser.add_argument("--weights", type=float, nargs="+", required=True, help="guidance weights; 1 disables guidance")
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
