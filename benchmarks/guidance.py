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

from triptych.core.errors import one_line_errors
from triptych.core.machine import Machine, machine
from triptych.core.snapshots import snapshot_files
from triptych.data.batches import to_uint8
from triptych.ddpm.trained import load_trained
from triptych.measures.frechet import FrechetReference, estimated_distance
from triptych.measures.judge import Judge
from triptych.measures.manifolds import precision_recall
from triptych.measures.sharpness import sharpness
from triptych.params import Params, check
from triptych.results.formatting import PERCENT, written
from triptych.sampling.guidance import Autoguidance, load_guide
from triptych.sampling.samplers import Denoising, draw_images
from triptych.statistics.intervals import Resampling

CLASSIFIER, MODEL, SNAPSHOTS = Path("models/classifier"), Path("models/ddpm"), Path("snapshots/ddpm")
HEADING = (
    "| guide | weight | Fréchet distance | recognised | sharpness | precision | recall |\n|---|---|---|---|---|---|---|"
)


class Measured:
    """Samples held against images that neither the model nor its judge has seen."""

    def __init__(self, real: np.ndarray, params: Params, place: Machine) -> None:
        self.real, self.params, self.place = real, params, place
        self.judge = Judge.load(CLASSIFIER, place.device, params.evaluation.batch_size)
        self.features = self.judge(real).features
        self.reference = FrechetReference(self.features)

    def cells(self, method: Denoising, count: int) -> str:
        """The numbers of so many samples, as cells of the table; all methods start from the same noise."""
        settings, sampling = self.params.evaluation, self.params.sampling
        sampler, seed = sampling.ddpm.sampler, self.params.seed
        with self.place.autocast():
            drawn = draw_images(
                method,
                self.real.shape[1:],
                count,
                sampler.name,
                sampler.steps,
                seed,
                sampling.batch_size,
                self.place.device,
            )
        images = to_uint8(drawn).numpy()
        judged = self.judge(images)
        resampling = Resampling(seed, settings.confidence_level, settings.bootstrap, "guidance")
        precision, recall = precision_recall(judged.features, self.features, settings.manifold_neighbours)
        cells = (
            written(estimated_distance(judged.features, self.reference, resampling, "frechet"), ".2f"),
            written(resampling.proportion(judged.recognised(settings.recognition_threshold)), PERCENT),
            written(float(sharpness(images).mean() / sharpness(self.real).mean()), ".2f"),
            written(float(precision.mean()), PERCENT),
            written(float(recall.mean()), PERCENT),
        )
        return " | ".join(cells)


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
        print(f"{HEADING}\n| none | 1 | {measured.cells(method, asked.samples)} |", flush=True)
        for epoch, guide in guides.items():
            for weight in asked.weights:
                cells = measured.cells(Autoguidance(method, guide, weight), asked.samples)
                print(f"| epoch {epoch} | {weight:g} | {cells} |", flush=True)


if __name__ == "__main__":
    with one_line_errors():
        main()
