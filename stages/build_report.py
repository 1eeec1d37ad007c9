"""Stage `report`: plots/report.html, every number and figure so far on one self-contained page."""

from pathlib import Path

from triptych.core.errors import one_line_errors
from triptych.core.schema import read_yaml
from triptych.report import page
from triptych.results.measurements import every_source

PARAMS = Path("params.yaml")
DATASETS = ("generative", "ssl")
# What the figures' sentences quote besides metrics and timing: where it lies, and which stage writes it.
QUOTED = {
    "plots/vae/training": (Path("plots/vae/training.csv"), "vae"),
    "plots/vae/latents": (Path("plots/vae/latents.csv"), "evaluate_vae"),
    "plots/ddpm/training": (Path("plots/ddpm/training.csv"), "ddpm"),
    "plots/ddpm/sampling": (Path("plots/ddpm/sampling.csv"), "evaluate_ddpm"),
    "timing/ddpm_sampling": (Path("metrics/timing/ddpm_sampling.json"), "evaluate_ddpm"),
}


def main() -> None:
    """Builds the page from the files of the stages before."""
    target = Path("plots/report.html")
    page.write(
        target,
        page.Inputs(
            params=PARAMS,
            data=Path("metrics/data.json"),
            grids={name: Path("plots/data") / f"{name}.png" for name in DATASETS},
            sources=every_source(read_yaml(PARAMS)),
            quoted=QUOTED,
            claims=Path("metrics/claims.json"),
            figures=Path("plots/figures"),
        ),
    )
    print(f"the report: {target}")


if __name__ == "__main__":
    with one_line_errors():
        main()
