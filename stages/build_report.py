"""Stage `report`: plots/report.html, every number and figure so far on one self-contained page."""

from pathlib import Path

from triptych.errors import one_line_errors
from triptych.figures import page
from triptych.figures.measurements import CLASSIFIER, DDPM, VAE

# What the pipeline measures; a new study joins here and in the stage's deps.
SOURCES = (CLASSIFIER, VAE, DDPM)
DATASETS = ("generative",)


def main() -> None:
    """Builds the page from the files of the stages before."""
    target = Path("plots/report.html")
    page.write(
        target,
        page.Inputs(
            params=Path("params.yaml"),
            data=Path("metrics/data.json"),
            grids={name: Path("plots/data") / f"{name}.png" for name in DATASETS},
            sources=SOURCES,
            claims=Path("metrics/claims.json"),
            figures=Path("plots/figures"),
        ),
    )
    print(f"the report: {target}")


if __name__ == "__main__":
    with one_line_errors():
        main()
