"""Seconds and memory of every stage against the number of images: the table and figure of docs/scale.md.

    python benchmarks/growth.py                      # minutes; writes all that is named below
    python benchmarks/growth.py --draw               # table and figure of the numbers that are there
    python benchmarks/growth.py --shrink 8 --to out  # a trial of an eighth of the images, into another folder

growth.yaml says what grows, and what does not. For each multiple of the default's images, all stages run one after
another in a throw-away copy of the project, each a process of its own, without DVC.

Seconds are those of the clock, from the start of the process to its end, and those that the processor gave to it and
its children (RUSAGE_CHILDREN), which other work on the machine does not stretch. Memory is the resident set of the
stage's process and, of each child, what it does not share (psutil's USS): pages that a fork has not copied count once.
It is looked at ten times a second, so that a shorter peak may be missed. Writes benchmarks/results/growth.csv,
docs/growth.png and a section of docs/scale.md.
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
# What runs once unmeasured: loops that are compiled are kept from then on.
WARM = ("prepare", "train_classifier", "train_vae", "train_ddpm", "train_ssl")
LOOK_SECONDS = 0.1
LEAST = 2  # of whatever grows
# Below so many seconds of the processor at the largest multiple, beyond the start, growth drowns in a start's scatter.
LEAST_SECONDS = 2.0
MIB = 2**20


class Settings(Section):
    """growth.yaml; see there."""

    multiples: list[int] = Field(min_length=3)
    start: float = Field(gt=0, lt=1)
    growing: dict[str, int]
    cut: dict[str, object]
    variants: list[str]


@dataclass(frozen=True)
class Stage:
    """A stage as DVC calls it, its script, and the datasets that it reads: sections of `data`."""

    name: str
    script: str
    datasets: tuple[str, ...]

    @property
    def argument(self) -> list[str]:
        """What the script is told: the study or variant behind the @."""
        return self.name.split("@")[1:]


def stages(variants: list[str]) -> list[Stage]:
    """All stages in an order in which they can run."""
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
    """What one stage took at one multiple; `images` are all of its datasets, training and test."""

    stage: str
    multiple: float
    images: int
    seconds: float
    cpu_seconds: float
    peak_mib: float


# Running --------------------------------------------------------------------------------------------------------------


def params_at(multiple: float, tree: dict, settings: Settings) -> dict:
    """The params at so many times their images.

    Raises:
        InputError: they are of a profile without a variant or a number of images that growth.yaml names.
    """
    missing = [key for key in settings.growing if not isinstance(value_at(tree, key), int)]
    missing += [f"ssl.variants.{name}" for name in settings.variants if name not in tree["ssl"]["variants"]]
    if missing:
        raise InputError(f"params.yaml: '{missing[0]}' is not there to be measured; growth.yaml is for the default")
    grown = {
        key: max(LEAST, round(value_at(tree, key) * multiple / divisor)) for key, divisor in settings.growing.items()
    }
    changed = overlaid(overlaid(tree, nested(settings.cut)), nested(grown))
    kept = {name: changed["ssl"]["variants"][name] for name in settings.variants}
    return changed | {"ssl": changed["ssl"] | {"variants": kept}}


def measured(settings: Settings, multiples: list[int], shrink: float) -> Iterator[Row]:
    """Every stage in turn at the small multiple that tells what a start takes, then at every multiple."""
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
    """Seconds of a stage by the clock and of the processor, and the most bytes that it and its children had."""
    clock, cpu = perf_counter(), processor_seconds()
    with running(folder, stage.script, *stage.argument) as process:
        resident = peak = 0
        while process.poll() is None:
            with suppress(psutil.NoSuchProcess):  # one that has ended since the last look
                every = [process, *process.children(recursive=True)]
                now = sum(each.memory_info().rss for each in every)
                if now > 1.01 * resident:  # what is not shared costs a hundred times the time to tell
                    resident, peak = now, max(peak, own_bytes(*every))
            with suppress(subprocess.TimeoutExpired, psutil.TimeoutExpired):
                process.wait(LOOK_SECONDS)
        seconds = perf_counter() - clock
        ended_well(process, folder)
    return seconds, processor_seconds() - cpu, peak


def processor_seconds() -> float:
    """Of all processes that this one has started and that have ended, and of those that they had started."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def own_bytes(first: psutil.Process, *others: psutil.Process) -> int:
    """What a process holds in memory, and what others hold besides."""
    return first.memory_info().rss + sum(each.memory_full_info().uss for each in others)


# What came of it ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Growth:
    """One stage.

    Attributes:
        start: its row at the small multiple.
        rows: its rows at the multiples, in rising order.
    """

    start: pd.Series
    rows: pd.DataFrame

    def beyond_start(self, column: str) -> np.ndarray:
        """What a column has at each multiple more than at the start."""
        return (self.rows[column] - self.start[column]).to_numpy()

    @property
    def grows(self) -> bool:
        """Whether there is enough beyond the start to speak of its growth."""
        seconds = self.beyond_start("cpu_seconds")
        return bool(seconds[-1] >= LEAST_SECONDS and (seconds > 0).all())

    def exponent(self, column: str = "cpu_seconds", last: int = 0) -> float | None:
        """p of seconds ~ images^p beyond the start; None without growth.

        Args:
            column: which seconds.
            last: over how many of the multiples, from the largest down; 0 for all.
        """
        images, seconds = (self.beyond_start(name)[-last:] for name in ("images", column))
        return power_law(images, seconds)[0] if self.grows and (seconds > 0).all() else None

    def over_first(self) -> np.ndarray:
        """Seconds of the processor at each multiple, over what their power law has at the first."""
        images, seconds = (self.beyond_start(name) for name in ("images", "cpu_seconds"))
        p, factor = power_law(images, seconds)
        return seconds / (factor * images[0] ** p)

    @property
    def bytes_per_image(self) -> float:
        """By how much the peak rises for each further image, by least squares."""
        return MIB * float(np.polyfit(self.rows["images"], self.rows["peak_mib"], 1)[0])


def power_law(images: np.ndarray, seconds: np.ndarray) -> tuple[float, float]:
    """p and c of seconds = c images^p, by least squares of the logarithms.

    Each weighs as its seconds: starts scatter alike at all multiples, so that a logarithm is as sure as it is large.
    """
    p, log_c = np.polyfit(np.log(images), np.log(seconds), 1, w=seconds)
    return float(p), float(np.exp(log_c))


def by_stage(rows: pd.DataFrame) -> dict[str, Growth]:
    """The growth of each stage, in the order of the table."""
    found = {}
    for name, own in rows.groupby("stage", sort=False):
        start, *_ = (row for _, row in own[own["multiple"] < 1].iterrows())
        found[name] = Growth(start, own[own["multiple"] >= 1].sort_values("multiple"))
    return found


def written_table(growths: dict[str, Growth]) -> str:
    """A row a stage, in Markdown."""
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
    """A small plot a stage: seconds beyond the start and peak memory, each over its value at the first multiple."""
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
    """One stage."""
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
    """Prints the table and writes figure and section."""
    growths = by_stage(rows)
    text = written_table(growths)
    print(text)
    draw(below / FIGURE, growths)
    figure = f"![Seconds and memory of each stage against the number of images]({FIGURE.name})"
    write_section(below / PAGE, "growth", f"{figure}\n\n{CAPTION}\n\n{text}")


def main() -> None:
    """Measures, or reads what was measured, and writes.

    Raises:
        InputError: nothing was measured yet, or a stage fails.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draw", action="store_true", help="only table and figure, of growth.csv")
    parser.add_argument("--shrink", type=float, default=1.0, help="a trial: all images over this number")
    parser.add_argument("--multiples", type=int, nargs="+", help="a trial: others than growth.yaml's")
    parser.add_argument("--to", type=Path, default=ROOT, help="the folder below which all is written")
    asked = parser.parse_args()
    if (asked.shrink != 1 or asked.multiples) and asked.to == ROOT:
        raise InputError("--shrink and --multiples are for a trial: name another folder to write to, with --to")
    unwind_when_terminated()
    settings = validate(Settings, read_yaml(SETTINGS), "", SETTINGS)
    csv = asked.to / CSV
    if asked.draw:
        if not csv.exists():
            raise InputError(f"{csv}: no such file; without --draw it is measured")
        rows = pd.read_csv(csv)
    else:
        found: list[Row] = []
        for row in measured(settings, asked.multiples or settings.multiples, asked.shrink):
            times = f"{row.seconds:>8.1f} s {row.cpu_seconds:>8.1f} s of the processor"
            print(f"{row.multiple:>6g}  {row.stage:<28}{times} {row.peak_mib:>8.0f} MiB", flush=True)
            found.append(row)
            rows = pd.DataFrame(map(asdict, found))
            write_text(csv, rows.to_csv(index=False))  # after each: what is measured stays, whatever comes
    show(rows, asked.to)


if __name__ == "__main__":
    with one_line_errors():
        main()
