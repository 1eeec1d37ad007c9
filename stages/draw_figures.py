"""Stage `figures`: every figure of the report under its number, from the files of the stages before."""

from pathlib import Path

import numpy as np

from triptych.errors import one_line_errors
from triptych.figures import ddpm, overview, vae
from triptych.figures.catalogue import figure_path

FOLDER = Path("plots/figures")
VAE_IMAGES, DDPM_IMAGES = Path("evaluations/vae/images.npz"), Path("evaluations/ddpm/images.npz")


def main() -> None:
    """Draws the figures of each study."""
    vae.draw_all(
        FOLDER,
        images=VAE_IMAGES,
        plots=Path("plots/vae"),
        timing=Path("metrics/timing/vae.json"),
        metrics=Path("metrics/vae.json"),
    )
    ddpm.draw_report(
        FOLDER,
        images=DDPM_IMAGES,
        plots=Path("plots/ddpm"),
        timing=Path("metrics/timing/ddpm.json"),
        metrics=Path("metrics/ddpm.json"),
    )
    ddpm.draw_beyond(
        {
            "restoration_curve": figure_path(FOLDER, 52),
            "sampling_cost": figure_path(FOLDER, 54),
            "restorations": figure_path(FOLDER, 56),
        },
        images=DDPM_IMAGES,
        plots=Path("plots/ddpm"),
        sampling=Path("metrics/timing/ddpm_sampling.json"),
        metrics=Path("metrics/ddpm.json"),
    )
    with np.load(VAE_IMAGES) as of_vae, np.load(DDPM_IMAGES) as of_ddpm:
        samples = {"VAE": of_vae["last_samples"], "DDPM": of_ddpm["last_samples"]}
        overview.draw(FOLDER / "overview.png", of_vae["originals"], samples)


if __name__ == "__main__":
    with one_line_errors():
        main()
