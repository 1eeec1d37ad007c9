"""Stage `prepare`: build the datasets of the studies, each with a data card (facts and statistics) and a picture."""

from pathlib import Path

from triptych.core.files import write_json
from triptych.core.schema import read
from triptych.data.sources.build import build, draw, save
from triptych.data.sources.params import DataParams
from triptych.machine.processes import run_script


def main() -> None:
    params = read(seed=int, data=DataParams)
    # All datasets are built and checked before one is saved, so that invalid input leaves earlier outputs unchanged.
    datasets = {study: build(source, params.seed) for study, source in params.data}
    cards = {study: save(dataset, Path("data") / study) for study, dataset in datasets.items()}
    for study, dataset in datasets.items():
        draw(dataset, Path("plots") / "data" / f"{study}.png")
    write_json("metrics/data.json", cards)
    for study, card in cards.items():
        print(f"{study}: {card['name']}, {card['train_images']:,} train and {card['test_images']:,} test images")


if __name__ == "__main__":
    run_script("prepare", main)
