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
from ddpm_recipes import changed

from triptych.core.errors import one_line_errors
from triptych.core.machine import Machine, machine
from triptych.core.seeds import fold
from triptych.core.schema import read_yaml, validate
from triptych.data.batches import resident
from triptych.data.storage import Dataset
from triptych.making.sources import build
from triptych.measures.collapse import effective_rank, embedding_std
from triptych.measures.probe import linear_classes
from triptych.measures.representation import encode, knn_correct
from triptych.params import Params
from triptych.ssl.shared.build import network_sizes, ssl_method
from triptych.ssl.shared.network import SiameseNetwork
from triptych.ssl.shared.params import SSLParams
from triptych.training.checkpoint import Checkpoints
from triptych.training.loop import Plan, train

PARAMS = Path("params.yaml")
RECIPES = Path(__file__).with_suffix(".yaml")
VARIANT = "simsiam"
COLUMNS = {"knn": ".1%", "linear": ".1%", "floor": ".1%", "std": ".2f", "rank": ".0f", "loss": ".2f", "seconds": ".0f"}
HEADING = "| recipe | kNN | linear | kNN, untrained | std | rank | loss | seconds |\n|---|---|---|---|---|---|---|---|"


def run(study: SSLParams, dataset: Dataset, seed: int, place: Machine) -> dict[str, float]:
    """One run through the pipeline's own loop, and its numbers."""
    torch.manual_seed(fold(seed, "weights"))
    network = SiameseNetwork(**network_sizes(study, VARIANT, dataset.train.images.shape[1]))
    network = network.to(place.device, memory_format=torch.channels_last)
    floor = accuracy(network, study, dataset, place)[0]
    split = resident(dataset.train.images, dataset.train.labels, place.device)
    with tempfile.TemporaryDirectory() as folder:
        result = train(
            ssl_method(network, study, VARIANT),
            split,
            study.method(VARIANT).training,
            Plan("ssl", seed, 1e9),
            place,
            Checkpoints("ssl", "recipe", root=Path(folder)),
        )
    knn, linear = accuracy(result.network, study, dataset, place)
    embeddings = encode(result.network, dataset.test.images, place.device).projector
    return {
        "knn": knn,
        "linear": linear,
        "floor": floor,
        "std": embedding_std(embeddings),
        "rank": effective_rank(embeddings),
        "loss": result.history[-1]["loss"],
        "seconds": result.timing["seconds_total"],
    }


def accuracy(network: SiameseNetwork, study: SSLParams, dataset: Dataset, place: Machine) -> tuple[float, float]:
    """Accuracy of the test images by nearest neighbours and by the linear probe."""
    train_set, test_set = (encode(network, split.images, place.device) for split in (dataset.train, dataset.test))
    labels = torch.from_numpy(np.array(dataset.train.labels))
    linear = linear_classes(train_set.backbone, labels, test_set.backbone, study.evaluation.probe_penalty)
    right = linear.cpu().numpy() == np.asarray(dataset.test.labels)
    return float(knn_correct(train_set, test_set, dataset, study.shared.knn).mean()), float(right.mean())


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
    recipes = validate(list[dict], yaml.safe_load(RECIPES.read_text(encoding="utf-8")), "", RECIPES)
    print(HEADING)
    for recipe in recipes:
        params = validate(Params, changed(tree, recipe["changes"]), "", RECIPES)
        dataset = build(params.data.ssl, params.seed)
        with machine(params.runtime) as place:
            runs = [run(params.ssl, dataset, params.seed + number, place) for number in range(seeds)]
        cells = [cell([one[name] for one in runs], style) for name, style in COLUMNS.items()]
        print(f"| {recipe['name']} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    with one_line_errors():
        main()
