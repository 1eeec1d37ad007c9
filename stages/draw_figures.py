"""Stage `figures`: every figure under its number, and the curves of all variants in one table."""

from pathlib import Path

import pandas as pd

from triptych.core.errors import one_line_errors
from triptych.core.files import write_text
from triptych.machine.processes import stage_clock
from triptych.report import drawing
from triptych.report.reader import Results, UnmeasuredError
from triptych.ssl.words.figures import history
from triptych.ssl.words.variants import variants
from triptych.studies import figures

FOLDER, CURVES = Path("plots/figures"), Path("plots/curves/ssl.csv")


def draw_overview(path: Path, results: Results) -> None:
    """Draw the picture at the head of the README: test images, and the first samples of each model."""
    vae, ddpm = (results.arrays(f"samples/{study}/images.npz") for study in ("vae", "ddpm"))
    bands = [("test images", vae["originals"]), ("VAE", vae["samples"]), ("DDPM", ddpm["samples"])]
    drawing.image_sheet(path, [(name, images[: drawing.COLUMNS]) for name, images in bands])


def main() -> None:
    """Draw every figure that the results of this run allow, and say which are left out."""
    results = Results()
    for figure in figures():
        try:
            figure.draw(figure.path(FOLDER), results)
        except UnmeasuredError as gap:
            print(f"figure {figure.number} is left out: {gap}")
    draw_overview(FOLDER / "overview.png", results)
    # `dvc plots show` draws this table, so that it needs no line for each variant.
    curves = pd.concat([history(results, name) for name in variants(results.params)], ignore_index=True)
    write_text(CURVES, curves.to_csv(index=False))


if __name__ == "__main__":
    with one_line_errors(), stage_clock("figures"):
        main()
