"""Trains methods of the third study by several recipes and measures the encoders: the tables of docs/ssl_recipes.md.

    python benchmarks/ssl_recipes.py --seeds 2
    python benchmarks/ssl_recipes.py --seeds 1 --only "BYOL, AdamW"

Each recipe of ssl_recipes.yaml changes some of params.yaml, the data among them; everything else is the same for all.
No test image is looked at: accuracies are those of training images held out, drawn besides those that train. Needs no
stage before. Prints a row of the table as each recipe ends: means over the seeds, with the lowest and the highest.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import yaml

from triptych.core.errors import InputError, one_line_errors
from triptych.core.machine import Machine, machine
from triptych.core.overlay import overlaid
from triptych.core.schema import read_yaml, validate
from triptych.core.seeds import fold
from triptych.data.batches import resident
from triptych.data.storage import Dataset, Split
from triptych.making.sources import build
from triptych.measures.baselines import pixel_hits, untrained_hits
from triptych.measures.collapse import effective_rank, embedding_std
from triptych.measures.representation import encode, knn_correct, linear_correct
from triptych.params import Params, validated
from triptych.ssl.shared.methods import method
from triptych.ssl.shared.recipes import recipe
from triptych.training.checkpoint import Checkpoints
from triptych.training.loop import Plan, train

PARAMS = Path("params.yaml")
RECIPES = Path(__file__).with_suffix(".yaml")
HELD_OUT = 2000
# The names of the columns with the forms of their numbers.
COLUMNS = {
    "kNN": ".1%",
    "linear": ".1%",
    "kNN, pixels": ".1%",
    "kNN, untrained": ".1%",
    "std": ".2f",
    "rank": ".0f",
    "loss": ".2f",
    "seconds": ".0f",
}


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


def without_test_images(params: Params) -> Dataset:
    """The training images, with further ones, held out, in the place of the test images."""
    source = params.data.ssl
    drawn = build(source.model_copy(update={"train": source.train + HELD_OUT}), params.seed)
    images, labels = drawn.train.images, drawn.train.labels
    parts = (Split(images[rows], labels[rows]) for rows in (slice(source.train), slice(source.train, None)))
    return replace(drawn, **dict(zip(("train", "test"), parts, strict=True)))


def run(params: Params, variant: str, dataset: Dataset, seed: int, place: Machine) -> dict[str, float]:
    """One run through the pipeline's own loop, and its numbers."""
    chosen, settings = recipe(params.ssl, variant), params.evaluation
    torch.manual_seed(fold(seed, "weights"))
    objective, _ = method(params.ssl.variants[variant].method).build(chosen, dataset.train.images.shape[1])
    split = resident(dataset.train.images, dataset.train.labels, place.device)
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints("ssl", "recipe", root=Path(folder))
        result = train(objective, split, chosen.training, Plan("ssl", seed, 1e9), place, checkpoints)
    splits = (dataset.train, dataset.test)
    bank, queries = (encode(result.network, part.images, place.device, settings.batch_size) for part in splits)
    untrained = untrained_hits(chosen.backbone, seed, dataset, settings, place.device)
    standardise = getattr(chosen.backbone, "standardise", False)
    hits = {
        "kNN": knn_correct(bank.backbone, queries.backbone, dataset, settings.ssl.knn),
        "linear": linear_correct(bank.backbone, queries.backbone, dataset, settings.ssl.probe_penalty),
        "kNN, pixels": pixel_hits("pixel", standardise, dataset, settings, place.device)["pixel_knn_correct"],
        "kNN, untrained": untrained["random_init_knn_correct"],
    }
    return {key: float(right.mean()) for key, right in hits.items()} | {
        "std": embedding_std(queries.projector),
        "rank": effective_rank(queries.projector),
        "loss": result.history[-1]["loss"],
        "seconds": result.timing["seconds_total"],
    }


def cell(values: list[float], style: str) -> str:
    """`63.1% [60.2%, 66.0%]`; the value alone of one seed."""
    mean = format(float(np.mean(values)), style)
    return f"{mean} [{format(min(values), style)}, {format(max(values), style)}]" if len(values) > 1 else mean


def main() -> None:
    """Trains and measures each recipe in turn.

    Raises:
        InputError: no recipe has the name that was asked for.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, required=True, help="runs of each recipe")
    parser.add_argument("--only", help="the name of one recipe")
    asked = parser.parse_args()
    tree = read_yaml(PARAMS)
    entries = validate(list[dict], yaml.safe_load(RECIPES.read_text(encoding="utf-8")), "", RECIPES)
    if asked.only and asked.only not in [entry["name"] for entry in entries]:
        raise InputError(f"{RECIPES}: no recipe is called '{asked.only}'")
    print(f"| recipe | {' | '.join(COLUMNS)} |\n|{'---|' * (1 + len(COLUMNS))}")
    for entry in entries:
        if asked.only not in (None, entry["name"]):
            continue
        params = validated(overlaid(tree, nested(entry["changes"])), RECIPES)
        dataset = without_test_images(params)
        with machine(params.runtime) as place:
            seeds = range(params.seed, params.seed + asked.seeds)
            runs = [run(params, entry["variant"], dataset, seed, place) for seed in seeds]
        cells = [cell([one[name] for one in runs], style) for name, style in COLUMNS.items()]
        print(f"| {entry['name']} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    with one_line_errors():
        main()
