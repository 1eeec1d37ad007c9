"""Stage `figures`: every figure of the report under its number, from the files of the stages before."""

from pathlib import Path

import numpy as np

from triptych.core.errors import one_line_errors
from triptych.core.schema import read
from triptych.results.measurements import read_metrics
from triptych.ssl.shared.params import SSLParams
from triptych.studies import overview
from triptych.studies.catalogue import figure_path
from triptych.studies.ddpm import figures as ddpm
from triptych.studies.ssl import figures as simsiam
from triptych.studies.vae import figures as vae

FOLDER = Path("plots/figures")
VAE_IMAGES, DDPM_IMAGES = Path("evaluations/vae/images.npz"), Path("evaluations/ddpm/images.npz")


def main() -> None:
    """Draws the figures of each study."""
    draw_vae()
    draw_ddpm()
    draw_simsiam(read(ssl=SSLParams).ssl)
    with np.load(VAE_IMAGES) as of_vae, np.load(DDPM_IMAGES) as of_ddpm:
        samples = {"VAE": of_vae["last_samples"], "DDPM": of_ddpm["last_samples"]}
        overview.draw(FOLDER / "overview.png", of_vae["originals"], samples)


def draw_vae() -> None:
    """Figures 1 to 27, and 55."""
    vae.draw_all(
        FOLDER,
        images=VAE_IMAGES,
        plots=Path("plots/vae"),
        timing=Path("metrics/timing/vae.json"),
        metrics=Path("metrics/vae.json"),
    )


def draw_ddpm() -> None:
    """Figures 28 to 43, and 52, 54 and 56."""
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


def draw_simsiam(study: SSLParams) -> None:
    """Figures 44 to 50, and 51, 53 and 57, of the variants that params.yaml names."""
    variants = {name: variant.model_dump() for name, variant in study.variants.items()}
    classes = len(read_metrics(Path("metrics/data.json"))["ssl"]["classes"])
    simsiam.draw_report(FOLDER, variants, classes=classes or None)
    simsiam.draw_beyond(
        {"collapse": figure_path(FOLDER, 51), "comparison": figure_path(FOLDER, 53), "cost": figure_path(FOLDER, 57)},
        variants,
        thresholds=study.evaluation.collapse.model_dump(),
    )


if __name__ == "__main__":
    with one_line_errors():
        main()
