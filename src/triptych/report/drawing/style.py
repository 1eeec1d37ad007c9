"""One look for every figure: type, colours and sizes, the headline, and how a picture is saved."""

import textwrap
from pathlib import Path

import matplotlib

from triptych.core.files import written_whole

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import seaborn as sns  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

# A palette that stays apart in print and for colour-blind readers (Okabe & Ito 2008).
PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442"]
INK, MUTED, ACCENT = "#222222", "#6b6b6b", "#D55E00"
DPI = 110
WIDTH = 9.0  # inches, of every figure
HEIGHT = 3.9  # inches, of a single plot
NOTE_COLUMNS = 117  # characters of a note in one line
LABEL = 10.5  # points, of what is written beside curves


def apply() -> None:
    """Sets the look for all figures made after it."""
    sns.set_theme(
        context="notebook",
        style="whitegrid",
        palette=PALETTE,
        rc={
            "figure.dpi": DPI,
            "savefig.dpi": DPI,
            "axes.titlesize": 13,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.edgecolor": "#cccccc",
            "axes.labelcolor": INK,
            "grid.color": "#ececec",
            "text.color": INK,
            "font.family": "DejaVu Sans",
            "svg.hashsalt": "triptych",
            "text.parse_math": False,  # a class may be called $x$
        },
    )


def save(figure: Figure, path: Path) -> None:
    """Writes a PNG without a date or a version in it, so that equal numbers give equal bytes."""
    with written_whole(path) as partial:
        figure.savefig(partial, format="png", metadata={"Software": None}, bbox_inches="tight", facecolor="white")
    plt.close(figure)


def headline(figure: Figure, title: str, note: str) -> None:
    """A bold title and under it, in grey, what to see."""
    figure.suptitle(title, x=0.01, y=0.985, ha="left", va="top", fontsize=13, fontweight="bold")
    inches = figure.get_size_inches()[1]
    figure.text(0.01, 0.985 - 0.3 / inches, note, ha="left", va="top", fontsize=9.5, color=MUTED, wrap=True)


def finish_below(path: Path, figure: Figure, plots: float, title: str, note: str) -> None:
    """Puts the plots into the lower share of the page, the headline above them, and saves."""
    figure.tight_layout(rect=(0, 0, 1, plots))
    headline(figure, title, note)
    save(figure, path)


def finish(path: Path, figure: Figure, title: str, note: str) -> None:
    """Puts the headline above the plots, however long its note, and saves."""
    width, plots = figure.get_size_inches()
    lines = textwrap.wrap(note, NOTE_COLUMNS)
    total = plots + 0.4 + 0.172 * len(lines)
    figure.set_size_inches(width, total)
    figure.tight_layout(rect=(0, 0, 1, plots / total))
    headline(figure, title, "\n".join(lines))
    save(figure, path)
