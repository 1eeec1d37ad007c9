"""Stage `figures`: draw all figures, and write the training curves of all SSL variants to one table."""

from pathlib import Path

import pandas as pd

from triptych.core.files import write_text
from triptych.machine.processes import run_script
from triptych.report import drawing
from triptych.report.generated_figures import images_path
from triptych.report.reader import Results, UnmeasuredError
from triptych.ssl.words.figures import history
from triptych.ssl.words.variants import variants
from triptych.studies import figures

FOLDER, CURVES = Path("plots/figures"), Path("plots/curves/ssl.csv")


def draw_overview(path: Path, results: Results) -> None:
    """Draw the picture for the README: a row of test images, a row of VAE samples and a row of DDPM samples."""
    vae, ddpm = (results.arrays(images_path(study)) for study in ("vae", "ddpm"))
    bands = [("test images", vae["originals"]), ("VAE", vae["samples"]), ("DDPM", ddpm["samples"])]
    drawing.image_sheet(path, [(name, images[: drawing.COLUMNS]) for name, images in bands])


def main() -> None:
    """Draw the figures, write the table of training curves, and print a message for each figure that has no results."""
    results = Results()
    for figure in figures():
        try:
            figure.draw(figure.path(FOLDER), results)
        except UnmeasuredError as gap:
            print(f"figure {figure.number} is not drawn: {gap}")
    draw_overview(FOLDER / "overview.png", results)
    # One table for `dvc plots show`, so that dvc.yaml needs no plot per variant.
    curves = pd.concat([history(results, name) for name in variants(results.params)], ignore_index=True)
    write_text(CURVES, curves.to_csv(index=False))


if __name__ == "__main__":
    run_script("figures", main)
