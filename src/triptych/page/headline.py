"""metrics/headline: the few numbers that `dvc metrics show` prints, a file a model, from the files of the stages."""

import shutil
from pathlib import Path

from triptych.core.files import write_json
from triptych.report.reader import Results
from triptych.report.record import Part, Study
from triptych.studies import STUDIES

FOLDER = Path("metrics/headline")


def headline(study: Study, part: Part, results: Results) -> dict[str, object]:
    """The headline numbers of one model that are there, of its metrics and of its training's timing."""
    files = [
        results.metrics(name) for name in (part.name, f"timing/{part.name}") if results.has(f"metrics/{name}.json")
    ]
    return {
        metric.key: file.values[metric.key]
        for metric in study.metrics
        if metric.headline
        for file in files
        if metric.key in file
    }


def write(results: Results) -> None:
    """Writes the folder anew, so that it holds no model that params.yaml no longer names.

    Raises:
        InputError: a metrics file is damaged.
    """
    found = {
        part.name: numbers
        for study in STUDIES
        for part in study.parts(results.params)
        if (numbers := headline(study, part, results))
    }
    shutil.rmtree(results.root / FOLDER, ignore_errors=True)
    for name, numbers in found.items():
        write_json(results.root / FOLDER / f"{name}.json", numbers)
