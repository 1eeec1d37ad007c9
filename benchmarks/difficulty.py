"""Compare the difficulty of drawn digits and other digits, and find settings that reduce it: docs/difficulty.md.

    python benchmarks/difficulty.py datasets/svhn.npz models/classifier
    python benchmarks/difficulty.py datasets/svhn.npz models/classifier --knobs

The judge must have been trained on the other digits, because its features are used to compare both. The first command
trains a judge and a VAE with the recipes of params.yaml on equal numbers of drawn and other digits, and measures them.
The second draws digits with each setting in difficulty.yaml and measures their distance to the others. Test images are
not used: other digits are training images, of which some are held out for the measurements.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import yaml
from held_out import HELD_OUT, without_test_images
from runs import trained

from triptych.core.errors import one_line_errors
from triptych.core.schema import validate
from triptych.core.seeds import fold
from triptych.data.sources.build import build
from triptych.data.sources.params import Npz, StreetDigits
from triptych.data.storage import Dataset, Split
from triptych.judge.measure import Judge
from triptych.judge.model import ClassificationObjective, Classifier
from triptych.machine.device import Machine, machine
from triptych.machine.randomness import Draw
from triptych.machine.tasks import run_tasks
from triptych.measures.discretised import bits_per_dimension, discretised_gaussian_log_mass
from triptych.measures.distributions import FrechetReference
from triptych.nn.weights import load_model
from triptych.params import Params, check
from triptych.ssl.probe import knn_correct
from triptych.training.objective import to_float
from triptych.vae.measure import calibrated_sigma, importance_weights, iwae_bound
from triptych.vae.model import VAE
from triptych.vae.objective import VAEObjective

KNOBS = Path(__file__).with_suffix(".yaml")


def others(path: str, like: Dataset, seed: int) -> Dataset:
    """Return as many other digits as `like` has. Their test images are held-out training images."""
    whole = without_test_images(Npz(name="npz", root=path), seed)
    count = len(like.train.images)
    return Dataset(
        Split(whole.train.images[:count], whole.train.labels[:count]), whole.test, whole.classes, path, "", "others"
    )


def judge_of(params: Params, dataset: Dataset, place: Machine) -> Judge:
    """Train a judge on the training images of a dataset."""
    torch.manual_seed(fold(params.seed, "weights"))
    network = Classifier(in_channels=3, classes=len(dataset.classes), **params.classifier.network.model_dump())
    objective = ClassificationObjective(network, params.classifier.mixup)
    network = trained(objective, params.classifier.training, dataset, params.seed, place)
    return Judge(network, place.device, params.evaluation.batch_size)


def judge_accuracy(params: Params, dataset: Dataset, place: Machine) -> float:
    """Train a judge and return its accuracy on held-out images."""
    judge = judge_of(params, dataset, place)
    return float((judge(dataset.test.images).classes() == dataset.test.labels).mean())


def bits(params: Params, dataset: Dataset, place: Machine) -> float:
    """Train a VAE and return its importance-weighted bound on held-out images in bits per dimension."""
    torch.manual_seed(fold(params.seed, "weights"))
    how, rows = params.evaluation.vae, params.evaluation.batch_size
    network = VAE(image_shape=dataset.train.images.shape[1:], **params.vae.network.model_dump())
    trained(VAEObjective(network, params.vae.likelihood_sigma), params.vae.training, dataset, params.seed, place)
    train_images, test_images = (
        to_float(torch.from_numpy(np.array(split.images[: how.likelihood_images])).to(place.device))
        for split in (dataset.train, dataset.test)
    )
    network.eval()
    sigma = calibrated_sigma(network, train_images, Draw(place.device, (params.seed, "calibration")), rows)
    likelihood = partial(discretised_gaussian_log_mass, sigma=sigma)
    draw = Draw(place.device, (params.seed, "importance"))
    [(_, weights)] = importance_weights(network, test_images, draw, how.importance_samples, [likelihood], rows)
    return float(bits_per_dimension(iwae_bound(weights), test_images[0].numel(), density=False).mean())


def pixel_accuracy(params: Params, dataset: Dataset) -> float:
    """Return the accuracy of kNN in pixel space on held-out images."""
    train, test = (
        to_float(torch.from_numpy(np.array(split.images))).flatten(1) for split in (dataset.train, dataset.test)
    )
    return float(knn_correct(train, test, dataset, params.evaluation.ssl.knn).mean())


def table(params: Params, drawn: Dataset, real: Dataset, judge: Judge, place: Machine) -> str:
    """Return the table of drawn and other digits with all measures."""
    at_once = place.at_once(4)
    both = {"drawn": drawn, "others": real}
    parts: dict[str, Callable[[], float]] = {
        f"{measure} {name}": partial(work, params, dataset, place)
        for measure, work in (("bits", bits), ("judge", judge_accuracy))
        for name, dataset in both.items()
    }
    found = run_tasks("difficulty", parts, at_once)
    reference = FrechetReference(judge(real.test.images).features)
    rows = {
        "judge right, of its own kind": [f"{found[f'judge {name}']:.1%}" for name in both],
        "nearest neighbours by pixels right": [f"{pixel_accuracy(params, dataset):.1%}" for dataset in both.values()],
        "VAE, bits per dimension": [f"{found[f'bits {name}']:.3f}" for name in both],
        "Fréchet distance to the others held out": [
            f"{reference.distance(judge(dataset.train.images[:HELD_OUT]).features):.2f}" for dataset in both.values()
        ],
        "right, by the judge of the others": [
            f"{(judge(dataset.test.images).classes() == dataset.test.labels).mean():.1%}" for dataset in both.values()
        ],
    }
    lines = [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]
    return "\n".join(["| | drawn digits | others |", "|---|---|---|", *lines])


def knob(
    changes: dict, source: StreetDigits, seed: int, reference: FrechetReference, judge: Judge
) -> tuple[float, float]:
    """Return the Fréchet distance of digits drawn with `changes` to the others, and the judge's accuracy on them."""
    setting = validate(StreetDigits, source.model_dump() | changes, "data.generative", KNOBS)
    drawn = build(setting.model_copy(update={"train": HELD_OUT, "test": 200}), seed).train
    judged = judge(drawn.images)
    return reference.distance(judged.features), float((judged.classes() == drawn.labels).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("others", help=".npz file with other digits, in the format of the source `npz`")
    parser.add_argument("judge", type=Path, help="folder of a judge trained on the other digits")
    parser.add_argument("--knobs", action="store_true", help=f"measure the settings of {KNOBS.name}")
    asked = parser.parse_args()
    params = check()
    source = params.data.generative
    drawn = without_test_images(source, params.seed)
    real = others(asked.others, drawn, params.seed)
    with machine(params.runtime) as place:
        judge = Judge(load_model(asked.judge, Classifier, place.device)[0], place.device, params.evaluation.batch_size)
        if not asked.knobs:
            print(table(params, drawn, real, judge, place))
            return
        settings = validate(list[dict], yaml.safe_load(KNOBS.read_text(encoding="utf-8")), "", KNOBS)
        at_once = place.at_once(len(settings))
        reference = FrechetReference(judge(real.test.images).features)
        parts = {
            ", ".join(f"{key} {value}" for key, value in changes.items()) or "as it is": partial(
                knob, changes, source, params.seed, reference, judge
            )
            for changes in settings
        }
        print("| setting | Fréchet distance | right, by the judge of the others |\n|---|---|---|")
        for name, (distance, right) in run_tasks("knobs", parts, at_once).items():
            print(f"| {name} | {distance:.2f} | {right:.1%} |")


if __name__ == "__main__":
    with one_line_errors():
        main()
