"""The picture at the head of the README: real images, and what each model makes."""

from pathlib import Path

from triptych.report.drawing import sheets
from triptych.report.reader import Results

PATH = "overview.png"  # in the folder of the figures


def draw(path: Path, results: Results) -> None:
    """A band of real images above a band of each model's first samples."""
    vae, ddpm = (results.arrays(f"samples/{study}/images.npz") for study in ("vae", "ddpm"))
    shown = {"test images": vae["originals"], "VAE": vae["samples"], "DDPM": ddpm["samples"]}
    sheets.bands(
        path,
        {name: images[: sheets.COLUMNS] for name, images in shown.items()},
        "What the models make of the data",
        "The first samples at the end of training, not chosen.",
    )
