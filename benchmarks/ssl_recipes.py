"""Trains SimSiam by several recipes and measures the encoders: the table of docs/simsiam_recipes.md.

    python benchmarks/ssl_recipes.py --seeds 2

Each recipe of ssl_recipes.yaml changes some of params.yaml, the data among them; everything else is the same for all.
Draws each dataset, so it needs no stage before. Prints a row of the table as each ends: means over the seeds, with the
lowest and the highest.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
import yaml

from triptych.core.errors import one_line_errors
from triptych.core.machine import Machine, machine
from triptych.core.overlay import overlaid
from triptych.core.schema import read_yaml, validate
from triptych.core.seeds import fold
from triptych.data.batches import resident
from triptych.data.storage import Dataset
from triptych.making.sources import build
from triptych.measures.collapse import effective_rank, embedding_std
from triptych.measures.params import EvaluationParams
from triptych.measures.probe import linear_classes
from triptych.measures.representation import encode, knn_correct
from triptych.params import Params, validated
from triptych.ssl.shared.methods import method
from triptych.ssl.shared.network import SiameseNetwork
from triptych.ssl.shared.recipes import recipe
from triptych.training.checkpoint import Checkpoints
from triptych.training.loop import Plan, train

PARAMS = Path("params.yaml")
RECIPES = Path(__file__).with_suffix(".yaml")
VARIANT = "simsiam"
COLUMNS = {"knn": ".1%", "linear": ".1%", "floor": ".1%", "std": ".2f", "rank": ".0f", "loss": ".2f", "seconds": ".0f"}
HEADING = "| recipe | kNN | linear | kNN, untrained | std | rank | loss | seconds |\n|---|---|---|---|---|---|---|---|"


def nested(changes: dict) -> dict:
    """Values at dotted keys as an overlay of params."""
    tree: dict = {}
    for key, value in changes.items():
        *sections, last = key.split(".")
        place = tree
        for name in sections:
            place = place.setdefault(name, {})
        place[last] = value
    return tree


def run(params: Params, dataset: Dataset, seed: int, place: Machine) -> dict[str, float]:
    """One run through the pipeline's own loop, and its numbers."""
    chosen = recipe(params.ssl, VARIANT)
    torch.manual_seed(fold(seed, "weights"))
    objective, _ = method(params.ssl.variants[VARIANT].method).build(chosen, dataset.train.images.shape[1])
    objective.to(place.device, memory_format=torch.channels_last)
    floor = accuracy(objective.network, params.evaluation, dataset, place)[0]
    split = resident(dataset.train.images, dataset.train.labels, place.device)
    with tempfile.TemporaryDirectory() as folder:
        result = train(
            objective,
            split,
            chosen.training,
            Plan("ssl", seed, 1e9),
            place,
            Checkpoints("ssl", "recipe", root=Path(folder)),
        )
    knn, linear = accuracy(result.network, params.evaluation, dataset, place)
    embeddings = encode(result.network, dataset.test.images, place.device, params.evaluation.batch_size).projector
    return {
        "knn": knn,
        "linear": linear,
        "floor": floor,
        "std": embedding_std(embeddings),
        "rank": effective_rank(embeddings),
        "loss": result.history[-1]["loss"],
        "seconds": result.timing["seconds_total"],
    }


def accuracy(
    network: SiameseNetwork, evaluation: EvaluationParams, dataset: Dataset, place: Machine
) -> tuple[float, float]:
    """Accuracy of the test images by nearest neighbours and by the linear probe."""
    train_set, test_set = (
        encode(network, split.images, place.device, evaluation.batch_size) for split in (dataset.train, dataset.test)
    )
    labels = torch.from_numpy(np.array(dataset.train.labels))
    linear = linear_classes(train_set.backbone, labels, test_set.backbone, evaluation.ssl.probe_penalty)
    right = linear.cpu().numpy() == np.asarray(dataset.test.labels)
    return float(knn_correct(train_set, test_set, dataset, evaluation.ssl.knn).mean()), float(right.mean())


def cell(values: list[float], style: str) -> str:
    """`63.1% [60.2%, 66.0%]`; the value alone of one seed."""
    mean = format(float(np.mean(values)), style)
    return f"{mean} [{format(min(values), style)}, {format(max(values), style)}]" if len(values) > 1 else mean


def main() -> None:
    """Trains and measures each recipe in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, required=True, help="runs of each recipe")
    seeds = parser.parse_args().seeds
    tree = read_yaml(PARAMS)
    entries = validate(list[dict], yaml.safe_load(RECIPES.read_text(encoding="utf-8")), "", RECIPES)
    print(HEADING)
    for entry in entries:
        params = validated(overlaid(tree, nested(entry["changes"])), RECIPES)
        dataset = build(params.data.ssl, params.seed)
        with machine(params.runtime) as place:
            runs = [run(params, dataset, params.seed + number, place) for number in range(seeds)]
        cells = [cell([one[name] for one in runs], style) for name, style in COLUMNS.items()]
        print(f"| {entry['name']} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    with one_line_errors():
        main()
