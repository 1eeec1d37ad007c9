"""Copy the results of a run to another folder: metrics, tables, params.yaml, the page, and a record of the machine."""

import json
import shutil
from pathlib import Path

from triptych.core.errors import InputError
from triptych.core.files import write_json, write_text
from triptych.page import build as page
from triptych.report.reader import Results

KEPT = ("params.yaml", "metrics/**/*.json", "plots/**/*.csv")  # figures are on the page
OF_VARIANTS = ("ssl", "evaluate_ssl")  # folders with files of each variant
PAGE, MACHINE = Path("plots/report.html"), Path("run.json")


def archive(results: Results, folder: Path, machine: dict, with_data: bool, force: bool = False) -> list[Path]:
    """Write the results to a folder and replace an earlier archive in it; return the relative paths of the files.

    `machine` becomes run.json. Without `with_data`, the page omits pictures that show many images of the dataset.
    Raises InputError if the folder is neither absent, empty nor an archive, unless `force` is set.
    """
    if folder.resolve() in (results.root.resolve(), *results.root.resolve().parents):
        raise InputError(f"{folder}: cannot archive a run into its own folder; choose another, such as docs/real")
    if not (force or not folder.exists() or is_archive(folder) or (folder.is_dir() and not any(folder.iterdir()))):
        raise InputError(
            f"{folder}: not a triptych archive (no triptych version in {MACHINE}), so nothing was deleted; "
            "choose another folder, or replace metrics/ and plots/ in this one with --force"
        )
    html = page.render(results, with_data)  # damaged input fails here, before anything is deleted
    write_json(folder / MACHINE, machine)  # first, so that an interrupted archive is recognised
    for old in ("metrics", "plots"):
        shutil.rmtree(folder / old, ignore_errors=True)
    present = sorted(path.relative_to(results.root) for pattern in KEPT for path in results.root.glob(pattern))
    files = [path for path in present if _is_current(path, results)]
    for path in files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(results.root / path, folder / path)
    write_text(folder / PAGE, html)
    return [*files, PAGE, MACHINE]


def is_archive(folder: Path) -> bool:
    """Return whether run.json in the folder contains a triptych version."""
    try:
        return "triptych" in json.loads((folder / MACHINE).read_text(encoding="utf-8"))["versions"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _is_current(path: Path, results: Results) -> bool:
    """Return False for files of variants that were removed from params.yaml: DVC does not delete them."""
    if path.parent.name not in OF_VARIANTS:
        return True
    variant = path.stem if path.suffix == ".json" else path.stem.rpartition("_")[0]
    return variant in results.param("ssl.variants")
