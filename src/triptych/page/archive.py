"""The results of a run in another folder, to be kept: numbers, tables, params, the page, and where it ran."""

import shutil
from pathlib import Path

from triptych.core.errors import InputError
from triptych.core.files import write_json
from triptych.page import build as page
from triptych.report.reader import Results

# Tables and numbers; figures stand on the page.
KEPT = ("params.yaml", "metrics/**/*.json", "plots/**/*.csv")
OF_VARIANTS = ("ssl", "evaluate_ssl")  # folders with files of each variant
PAGE, MACHINE = Path("plots/report.html"), Path("run.json")


def archive(results: Results, folder: Path, machine: dict, with_data: bool) -> list[Path]:
    """Writes the results to a folder, which may hold those of an earlier run: these are replaced.

    Args:
        results: of the run.
        folder: where to.
        machine: what it ran on.
        with_data: whether the page has pictures that show many images of the dataset.

    Returns:
        The files, as seen from the folder.

    Raises:
        InputError: an input is missing or damaged, or the folder is the run's own.
    """
    if folder.resolve() in (results.root.resolve(), *results.root.resolve().parents):
        raise InputError(f"{folder}: this run's own folder; name another, such as docs/real")
    page.render(results, with_data)  # damaged input changes nothing
    for old in ("metrics", "plots"):
        shutil.rmtree(folder / old, ignore_errors=True)
    every = sorted(path.relative_to(results.root) for pattern in KEPT for path in results.root.glob(pattern))
    found = [
        path for path in every if path.parent.name not in OF_VARIANTS or _variant(path) in results.param("ssl.variants")
    ]
    for path in found:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(results.root / path, folder / path)
    page.write(folder / PAGE, results, with_data)
    write_json(folder / MACHINE, machine)
    return [*found, PAGE, MACHINE]


def _variant(path: Path) -> str:
    """Of metrics/…/<variant>.json or plots/ssl/<variant>_<table>.csv. Those of variants that the params no longer
    have stay behind from another run, for DVC removes no files of stages that are gone."""
    return path.stem if path.suffix == ".json" else path.stem.rpartition("_")[0]
