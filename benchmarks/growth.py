"""Measure time and memory of every stage against the number of images: the table and figure of docs/scale.md.

    python benchmarks/growth.py                      # several minutes; writes all outputs
    python benchmarks/growth.py --draw               # table and figure from the existing measurements
    python benchmarks/growth.py --shrink 8 --to out  # trial with an eighth of the images, into another folder

growth.yaml lists the settings that grow and those that do not. For each multiple of the default number of images, all
stages run one after another in a temporary copy of the project, each in its own process, without DVC. params.yaml must
contain the profile full: `triptych profile use full`.

Time is the wall-clock time of the process, and the CPU time of the process and its children (RUSAGE_CHILDREN), which
other load on the machine does not increase. Memory is the resident set of the stage's process plus the unshared memory
of its children (USS in psutil), so pages that a fork has not copied count once. Memory is sampled ten times per second,
so shorter peaks can be missed. Writes benchmarks/results/growth.csv, docs/growth.png and a section of docs/scale.md.
"""

import argparse
import resource
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
import psutil
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from overlays import nested
from pages import table, write_section
from projects import (
    ROOT,
    ended_well,
    params_of,
    run,
    running,
    thrown_away,
    unwind_when_terminated,
    write_params,
)
from pydantic import Field

from triptych.core.errors import InputError, one_line_errors
from triptych.core.files import write_text
from triptych.core.schema import Section, overlaid, read_yaml, validate
from triptych.data.storage import SPLITS
from triptych.report import drawing
from triptych.report.formatting import written
from triptych.report.reader import value_at

SETTINGS = Path(__file__).with_suffix(".yaml")
CSV, FIGURE, PAGE = Path("benchmarks/results/growth.csv"), Path("docs/growth.png"), Path("docs/scale.md")
CAPTION = (
    "Each stage against the number of images, in multiples of the default's, with both axes logarithmic and every "
    "value relative to that at the default. p is the exponent; it is missing where a stage takes little more than its "
    "start."
)
# Scripts that run once without measurement, because compiled code is cached.
WARM = ("prepare", "train_classifier", "train_vae", "train_ddpm", "train_ssl")
LOOK_SECONDS = 0.1
LEAST = 2  # smallest value of a growing setting
# Least CPU time beyond the start at the largest multiple. Below it the noise of the start hides the growth.
LEAST_SECONDS = 2.0
MIB = 2**20


class Settings(Section):
    """Contents of growth.yaml, which explains them."""

    multiples: list[int] = Field(min_length=3)
    start: float = Field(gt=0, lt=1)
    growing: dict[str, int]
    cut: dict[str, object]
    variants: list[str]


@dataclass(frozen=True)
class Stage:
    """A DVC stage: its name, its script, and the sections of `data` that it reads."""

    name: str
    script: str
    datasets: tuple[str, ...]

    @property
    def argument(self) -> list[str]:
        """Argument of the script: the study or variant after the @."""
        return self.name.split("@")[1:]


def stages(variants: list[str]) -> list[Stage]:
    """Return all stages in execution order."""
    generative, ssl, both = ("generative",), ("ssl",), ("generative", "ssl")
    return [
        Stage("prepare", "prepare", both),
        Stage("classifier", "train_classifier", generative),
        Stage("vae", "train_vae", generative),
        Stage("ddpm", "train_ddpm", generative),
        *(Stage(f"ssl@{name}", "train_ssl", ssl) for name in variants),
        Stage("sample@vae", "sample", generative),
        Stage("sample@ddpm", "sample", generative),
        Stage("evaluate_classifier", "evaluate_classifier", generative),
        Stage("evaluate_vae", "evaluate_vae", generative),
        Stage("evaluate_ddpm", "evaluate_ddpm", generative),
        Stage("ssl_baselines", "evaluate_ssl_baselines", ssl),
        *(Stage(f"evaluate_ssl@{name}", "evaluate_ssl", ssl) for name in variants),
        Stage("claims", "decide_claims", both),
        Stage("figures", "draw_figures", both),
        Stage("report", "build_report", both),
    ]


@dataclass(frozen=True)
class Row:
    """Measurements of one stage at one multiple. `images` counts all of its datasets, training and test."""

    stage: str
    multiple: float
    images: int
    seconds: float
    cpu_seconds: float
    peak_mib: float


# Running --------------------------------------------------------------------------------------------------------------


def params_at(multiple: float, tree: dict, settings: Settings) -> dict:
    """Return the params with `multiple` times their images.

    Raises InputError if they lack a variant or a number of images that growth.yaml names.
    """
    missing = [key for key in settings.growing if not isinstance(value_at(tree, key), int)]
    missing += [f"ssl.variants.{name}" for name in settings.variants if name not in tree["ssl"]["variants"]]
    if missing:
        raise InputError(
            f"params.yaml: '{missing[0]}' is missing or not an integer; growth.yaml needs the profile full"
        )
    grown = {
        key: max(LEAST, round(value_at(tree, key) * multiple / divisor)) for key, divisor in settings.growing.items()
    }
    changed = overlaid(overlaid(tree, nested(settings.cut)), nested(grown))
    kept = {name: changed["ssl"]["variants"][name] for name in settings.variants}
    return changed | {"ssl": changed["ssl"] | {"variants": kept}}


def measured(settings: Settings, multiples: list[int], shrink: float) -> Iterator[Row]:
    """Yield the measurements of every stage, first with few images (to estimate its start), then at each multiple."""
    tree, every = params_of(), stages(settings.variants)
    params = {multiple: params_at(multiple / shrink, tree, settings) for multiple in (settings.start, *multiples)}
    with thrown_away(params[settings.start]) as folder:
        for stage in every:
            if stage.script in WARM:
                run(folder, stage.script, *stage.argument)
        for multiple, own in params.items():
            write_params(folder, own)
            for stage in every:
                seconds, cpu, peak = watched(folder, stage)
                images = sum(own["data"][name][split] for name in stage.datasets for split in SPLITS)
                yield Row(stage.name, multiple, images, round(seconds, 3), round(cpu, 3), round(peak / MIB, 1))


def watched(folder: Path, stage: Stage) -> tuple[float, float, int]:
    """Run a stage, and return its wall-clock time, its CPU time and the peak memory in bytes, with its children."""
    clock, cpu = perf_counter(), processor_seconds()
    with running(folder, stage.script, *stage.argument) as process:
        resident = peak = 0
        while process.poll() is None:
            with suppress(psutil.NoSuchProcess):  # a process may end while it is measured
                every = [process, *process.children(recursive=True)]
                now = sum(each.memory_info().rss for each in every)
                if now > 1.01 * resident:  # USS takes a hundred times as long to read as RSS
                    resident, peak = now, max(peak, own_bytes(*every))
            with suppress(subprocess.TimeoutExpired, psutil.TimeoutExpired):
                process.wait(LOOK_SECONDS)
        seconds = perf_counter() - clock
        ended_well(process, folder)
    return seconds, processor_seconds() - cpu, peak


def processor_seconds() -> float:
    """Return the CPU time of all child processes that have ended, including their own children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def own_bytes(first: psutil.Process, *others: psutil.Process) -> int:
    """Return the memory of a process plus the unshared memory of others."""
    return first.memory_info().rss + sum(each.memory_full_info().uss for each in others)


# Evaluation -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Growth:
    """Measurements of one stage.

    Attributes:
        start: row with few images.
        rows: rows of the multiples, in ascending order.
    """

    start: pd.Series
    rows: pd.DataFrame

    def beyond_start(self, column: str) -> np.ndarray:
        """Return the increase of a column over `start`, per multiple."""
        return (self.rows[column] - self.start[column]).to_numpy()

    @property
    def grows(self) -> bool:
        """True if the CPU time grows enough to fit an exponent."""
        seconds = self.beyond_start("cpu_seconds")
        return bool(seconds[-1] >= LEAST_SECONDS and (seconds > 0).all())

    def exponent(self, column: str = "cpu_seconds", last: int = 0) -> float | None:
        """Return p of seconds ~ images^p beyond the start, or None if the stage does not grow.

        Args:
            column: column with the seconds.
            last: number of multiples to use, from the largest down; 0 uses all.
        """
        images, seconds = (self.beyond_start(name)[-last:] for name in ("images", column))
        return power_law(images, seconds)[0] if self.grows and (seconds > 0).all() else None

    def over_first(self) -> np.ndarray:
        """Return the CPU time per multiple, divided by the fitted CPU time at the first multiple."""
        images, seconds = (self.beyond_start(name) for name in ("images", "cpu_seconds"))
        p, factor = power_law(images, seconds)
        return seconds / (factor * images[0] ** p)

    @property
    def bytes_per_image(self) -> float:
        """Increase of the peak memory per image, by least squares."""
        return MIB * float(np.polyfit(self.rows["images"], self.rows["peak_mib"], 1)[0])


def power_law(images: np.ndarray, seconds: np.ndarray) -> tuple[float, float]:
    """Fit seconds = c images^p by least squares of the logarithms, and return p and c.

    The weights are the seconds, because the noise of the start is equal at all multiples.
    """
    p, log_c = np.polyfit(np.log(images), np.log(seconds), 1, w=seconds)
    return float(p), float(np.exp(log_c))


def by_stage(rows: pd.DataFrame) -> dict[str, Growth]:
    """Return the growth of each stage, in the order of the table."""
    found = {}
    for name, own in rows.groupby("stage", sort=False):
        start, *_ = (row for _, row in own[own["multiple"] < 1].iterrows())
        found[name] = Growth(start, own[own["multiple"] >= 1].sort_values("multiple"))
    return found


def written_table(growths: dict[str, Growth]) -> str:
    """Return the table in Markdown, one row per stage."""
    multiples = [f"{multiple:g}×" for multiple in next(iter(growths.values())).rows["multiple"]]
    heading = ["stage", f"images at {multiples[0]}", "start, s", *(f"{name}, s" for name in multiples)]
    heading += ["exponent, clock", "processor", f"from {multiples[-2]} to {multiples[-1]}"]
    heading += [f"MiB at {multiples[0]}", f"at {multiples[-1]}", "kB a further image"]
    lines = [heading]
    for name, growth in growths.items():
        first, last = growth.rows.iloc[0], growth.rows.iloc[-1]
        exponents = (growth.exponent("seconds"), growth.exponent(), growth.exponent(last=2))
        lines.append(
            [
                f"`{name}`",
                f"{first['images']:,.0f}",
                f"{growth.start['seconds']:.1f}",
                *(f"{seconds:.1f}" for seconds in growth.rows["seconds"]),
                *(written(exponent, ".2f") for exponent in exponents),
                f"{first['peak_mib']:,.0f}",
                f"{last['peak_mib']:,.0f}",
                written(growth.bytes_per_image / 1000, ".1f"),
            ]
        )
    return table(lines)


def draw(path: Path, growths: dict[str, Growth]) -> None:
    """Draw one small plot per stage: CPU time beyond the start and peak memory, relative to the first multiple."""
    columns = 6
    lines = -(-(len(growths) + 1) // columns)
    page, cells = drawing.subplots(lines, columns, figsize=(9, 1.9 * lines), sharex=True, sharey=True)
    for axes, (name, growth) in zip(cells.flat, growths.items(), strict=False):
        plot(axes, name, growth)
    for axes in cells.flat[len(growths) :]:
        axes.set_axis_off()
    for axes in cells.flat[len(growths) - columns : len(growths)]:
        axes.tick_params(labelbottom=True)
    entries = {
        "seconds of the\nprocessor,\nbeyond the start": {"color": drawing.PALETTE[0], "marker": "o"},
        "peak memory": {"color": drawing.PALETTE[1], "marker": "s", "linestyle": ":"},
        "as the images": {"color": drawing.INK, "linestyle": "--", "linewidth": 1},
        "as their square": {"color": drawing.MUTED, "linestyle": ":", "linewidth": 1},
    }
    handles = [Line2D([], [], **how) for how in entries.values()]
    cells.flat[len(growths)].legend(handles, list(entries), loc="upper left", fontsize=8.5)
    drawing.save(page, path)


def plot(axes: Axes, name: str, growth: Growth) -> None:
    multiples = growth.rows["multiple"].to_numpy(dtype=float)
    axes.plot(multiples, multiples, color=drawing.INK, linestyle="--", linewidth=1)
    axes.plot(multiples, multiples**2, color=drawing.MUTED, linestyle=":", linewidth=1)
    axes.plot(
        multiples, growth.rows["peak_mib"] / growth.rows["peak_mib"].iloc[0], "s:", color=drawing.PALETTE[1], ms=4
    )
    if growth.grows:
        axes.plot(multiples, growth.over_first(), "o-", color=drawing.PALETTE[0], ms=5)
        said = f"p = {growth.exponent():.2f}"
        axes.text(0.06, 0.93, said, transform=axes.transAxes, va="top", fontsize=9, color=drawing.INK)
    axes.set_title(name.replace("@", "\n@"), fontsize=8.5)
    axes.set(xscale="log", yscale="log", ylim=(0.5, 1.3 * multiples[-1] ** 2))
    axes.set_xticks(multiples, [f"{multiple:g}×" for multiple in multiples], fontsize=8.5)
    axes.set_yticks([1, 4, 16, 64], ["1×", "4×", "16×", "64×"], fontsize=8.5)
    axes.minorticks_off()


def show(rows: pd.DataFrame, below: Path) -> None:
    """Print the table, and write the figure and the section of the page."""
    growths = by_stage(rows)
    text = written_table(growths)
    print(text)
    draw(below / FIGURE, growths)
    figure = f"![Seconds and memory of each stage against the number of images]({FIGURE.name})"
    write_section(below / PAGE, "growth", f"{figure}\n\n{CAPTION}\n\n{text}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draw", action="store_true", help="only write table and figure, from growth.csv")
    parser.add_argument(
        "--shrink", type=float, default=1.0, help="divide the numbers of images by this factor, for a trial"
    )
    parser.add_argument(
        "--multiples", type=int, nargs="+", help="multiples in place of those in growth.yaml, for a trial"
    )
    parser.add_argument("--to", type=Path, default=ROOT, help="root of the output files")
    asked = parser.parse_args()
    if (asked.shrink != 1 or asked.multiples) and asked.to == ROOT:
        raise InputError("--shrink and --multiples are for trials and require --to with another folder")
    unwind_when_terminated()
    settings = validate(Settings, read_yaml(SETTINGS), "", SETTINGS)
    csv = asked.to / CSV
    if asked.draw:
        if not csv.exists():
            raise InputError(f"{csv}: no such file; create it without --draw")
        rows = pd.read_csv(csv)
    else:
        found: list[Row] = []
        for row in measured(settings, asked.multiples or settings.multiples, asked.shrink):
            times = f"{row.seconds:>8.1f} s {row.cpu_seconds:>8.1f} s of the processor"
            print(f"{row.multiple:>6g}  {row.stage:<28}{times} {row.peak_mib:>8.0f} MiB", flush=True)
            found.append(row)
            rows = pd.DataFrame(map(asdict, found))
            write_text(csv, rows.to_csv(index=False))  # after each row, so that an interruption loses nothing
    show(rows, asked.to)


if __name__ == "__main__":
    with one_line_errors():
        main()
