"""Train SSL methods with several recipes and measure the encoders: the tables of docs/ssl_recipes.md.

    python benchmarks/ssl_recipes.py --seeds 2
    python benchmarks/ssl_recipes.py --seeds 1 --only "BYOL, AdamW"
    python benchmarks/ssl_recipes.py --seeds 1 --recipes benchmarks/ssl_recipes_real.yaml

Each recipe in a file changes some settings of params.yaml, possibly the data; all other settings are the same. Recipes
of rivals need the profile full or one that is based on it: `triptych profile use full`. Test images are not used:
accuracies are measured on held-out training images. No earlier stage is needed. On a CPU several recipes run in
parallel. Prints a row of the table after each recipe: means over the seeds, with minimum and maximum.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
import yaml
from held_out import without_test_images
from overlays import nested

from triptych.core.errors import InputError, one_line_errors
from triptych.core.schema import overlaid, read_yaml, validate
from triptych.core.seeds import fold
from triptych.data.storage import Dataset
from triptych.machine.device import Machine, machine
from triptych.machine.processes import side_by_side
from triptych.nn.fast.norm import standardised
from triptych.params import Params, validated
from triptych.ssl.measure import effective_rank, embedding_std
from triptych.ssl.probe import encode, knn_correct, linear_correct, untrained_correct
from triptych.ssl.shared.recipes import method, recipe
from triptych.training.checkpoint import Checkpoints
from triptych.training.loop import Plan, Trainer
from triptych.training.objective import resident, to_float

PARAMS = Path("params.yaml")
RECIPES = Path(__file__).with_suffix(".yaml")
# Columns and their number formats.
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


def run(params: Params, variant: str, dataset: Dataset, seed: int, place: Machine) -> dict[str, float]:
    """Train one variant with the pipeline's training loop, and return its measures."""
    chosen, settings = recipe(params.ssl, variant), params.evaluation
    torch.manual_seed(fold(seed, "weights"))
    objective, _ = method(params.ssl.variants[variant].method).build(chosen, dataset.train.images.shape[1])
    split = resident(dataset.train.images, dataset.train.labels, place.device)
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints("ssl", "recipe", root=Path(folder))
        result = Trainer(objective, split, chosen.training, Plan("ssl", seed, 1e9), place, checkpoints).run()
    splits = (dataset.train, dataset.test)
    bank, queries = (encode(result.network, part.images, place.device, settings.batch_size) for part in splits)
    untrained = untrained_correct(chosen.backbone, seed, dataset, settings, place.device)
    pixels = (torch.from_numpy(np.array(part.images)).to(place.device) for part in splits)
    received = [to_float(part) for part in pixels]
    if getattr(chosen.backbone, "standardise", False):
        received = [standardised(part) for part in received]
    hits = {
        "kNN": knn_correct(bank["backbone"], queries["backbone"], dataset, settings.ssl.knn),
        "linear": linear_correct(bank["backbone"], queries["backbone"], dataset, settings.ssl.probe_penalty),
        "kNN, pixels": knn_correct(*(part.flatten(1) for part in received), dataset, settings.ssl.knn),
        "kNN, untrained": untrained["knn"],
    }
    return {key: float(right.mean()) for key, right in hits.items()} | {
        "std": embedding_std(queries["projector"]),
        "rank": effective_rank(queries["projector"]),
        "loss": result.history[-1]["loss"],
        "seconds": result.timing["seconds_total"],
    }


def cell(values: list[float], style: str) -> str:
    """Format the mean and the range, such as `63.1% [60.2%, 66.0%]`, or a single value."""
    mean = format(float(np.mean(values)), style)
    return f"{mean} [{format(min(values), style)}, {format(max(values), style)}]" if len(values) > 1 else mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, required=True, help="number of seeds per recipe")
    parser.add_argument("--only", help="name of a single recipe to run")
    parser.add_argument("--recipes", type=Path, default=RECIPES, help="YAML file with recipes")
    asked = parser.parse_args()
    tree = read_yaml(PARAMS)
    entries = validate(list[dict], yaml.safe_load(asked.recipes.read_text(encoding="utf-8")), "", asked.recipes)
    if asked.only and asked.only not in [entry["name"] for entry in entries]:
        raise InputError(f"{asked.recipes}: no recipe '{asked.only}'")
    entries = [entry for entry in entries if asked.only in (None, entry["name"])]
    for entry in entries:
        if entry["variant"] not in tree["ssl"]["variants"]:
            raise InputError(f"{PARAMS}: no variant '{entry['variant']}'; `triptych profile use full` adds the rivals")
    every = [validated(overlaid(tree, nested(entry["changes"])), asked.recipes) for entry in entries]
    print(f"| recipe | {' | '.join(COLUMNS)} |\n|{'---|' * (1 + len(COLUMNS))}")
    with machine(every[0].runtime) as place:
        at_once = place.at_once(len(entries))
        works = [
            partial(row, entry, params, range(params.seed, params.seed + asked.seeds), place)
            for entry, params in zip(entries, every, strict=True)
        ]
        for _, line in side_by_side(works, at_once):
            print(line, flush=True)


def row(entry: dict, params: Params, seeds: range, place: Machine) -> str:
    """Train and measure one recipe, and return its row of the table."""
    dataset = images(params)
    runs = [run(params, entry["variant"], dataset, seed, place) for seed in seeds]
    cells = [cell([one[name] for one in runs], style) for name, style in COLUMNS.items()]
    return f"| {entry['name']} | {' | '.join(cells)} |"


DATASETS: dict[str, Dataset] = {}


def images(params: Params) -> Dataset:
    """Return the dataset of a recipe, cached for the recipes of this process."""
    key = params.data.ssl.model_dump_json()
    if key not in DATASETS:
        DATASETS[key] = without_test_images(params.data.ssl, params.seed)
    return DATASETS[key]


if __name__ == "__main__":
    with one_line_errors():
        main()
