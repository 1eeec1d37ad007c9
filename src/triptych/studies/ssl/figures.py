"""Figures 44 to 50: SimSiam and its ablations; and beyond the report, collapse, all methods compared, their cost."""

import json
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter

from triptych.drawing import style
from triptych.results.measurements import duration, method_title, written, written_interval
from triptych.studies.catalogue import REPORT_DIMS, figure, figure_path

BASELINE, WIDE = "simsiam", "projector_4096"
# Each ablation, compared with the baseline, and the numbers of its figures: kNN accuracy and training loss.
PAIRS = {"no_stop_gradient": (44, 45), "no_predictor": (46, 47), WIDE: (48, 49)}
# The report's four runs, then the others in turn: all dark enough to write names in.
OWN_COLOURS = [*style.PALETTE[:3], "#B5558F"]
COLOURS = ["#6A3D9A", "#B07D00", "#7A4B2A", "#00585C", "#C2185B", "#5F7A8C", "#808000", "#3F51B5", "#8B0000"]
FLOOR = -1.0  # of a negative cosine
UNTRAINED = "untrained encoder"
# Each accuracy, its name, its marker, the style of the untrained encoder's line, and where in its row it stands.
KINDS = {"knn_accuracy": ("kNN", "o", "--", -0.17), "linear_accuracy": ("linear", "D", ":", 0.17)}
UNITS = (("hours", 3600), ("minutes", 60), ("seconds", 1))
COLLAPSED = "#F7DEDB"  # the zone below a threshold
NOTE_COLUMNS = 124  # characters of a note in one line
MARKED = 40  # epochs up to which each has its dot
HEIGHT = 3.9  # inches, of a single plot
LABEL = 10.5  # points, of what is written beside curves
LINE = 0.205  # inches, of a line of it


@dataclass(frozen=True)
class Run:
    """One variant, with what its files say.

    Attributes:
        name: its key in params.yaml.
        label: what figures call it.
        colour: its own in every figure.
        method: whose loss it has.
        dim: size of the projector's output.
        metrics: metrics/ssl/<name>.json.
        history: plots/ssl/<name>_training.csv.
    """

    name: str
    label: str
    colour: str
    method: str
    dim: int
    metrics: Mapping
    history: pd.DataFrame

    @property
    def epochs(self) -> int:
        return int(self.history["epoch"].max())

    def mean(self, column: str) -> pd.Series:
        """The mean over seeds at each epoch where the column was measured."""
        return self.history.dropna(subset=[column]).groupby("epoch")[column].mean()


def load(variants: Mapping[str, Mapping], plots: Path, metrics: Path) -> dict[str, Run]:
    """The runs of the variants of params.yaml, in their order.

    Args:
        variants: ssl.variants.
        plots: plots/ssl.
        metrics: metrics/ssl.
    """
    palette = colours(variants)
    return {
        name: Run(
            name=name,
            label=label(name, settings["projector_dim"]),
            colour=palette[name],
            method=settings["method"],
            dim=settings["projector_dim"],
            metrics=json.loads((metrics / f"{name}.json").read_text(encoding="utf-8")),
            history=pd.read_csv(plots / f"{name}_training.csv"),
        )
        for name, settings in variants.items()
    }


# Words: what the figures say, from the numbers in the files -----------------------------------------------------------


def label(name: str, dim: int) -> str:
    """What figures call a variant; the wide projector goes by its true width."""
    if name == WIDE:
        return f"projector {dim}" + (f" (for {REPORT_DIMS[WIDE]})" if dim != REPORT_DIMS[WIDE] else "")
    return method_title(name)


def colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for each variant; the report's own four keep theirs whichever are there."""
    own = dict(zip([BASELINE, *PAIRS], OWN_COLOURS, strict=True))
    return own | dict(zip([name for name in names if name not in own], cycle(COLOURS), strict=False))


def accuracy(metrics: Mapping, key: str) -> str:
    """`58.7 % (56.5 to 60.9 %)`."""
    interval = written_interval((metrics.get("intervals") or {}).get(key), ".1%")
    return written(metrics[key], ".1%") + (f" ({interval})" if interval else "")


def diagnosis(metrics: Mapping) -> str:
    """`collapsed (complete) since epoch 3`, or `not collapsed`."""
    if not metrics["collapsed"]:
        return "not collapsed"
    since = metrics.get("collapsed_since_epoch")
    return f"collapsed ({metrics['collapse_kind']})" + ("" if since is None else f" since epoch {since}")


def spread_of_seeds(runs: Sequence[Run]) -> str:
    """What lines and bands are."""
    seeds = max(run.history["seed"].nunique() for run in runs)
    return "One seed, so no bands." if seeds == 1 else f"Lines: mean of {seeds} seeds; bands: from lowest to highest."


def stands_for(runs: Sequence[Run]) -> str:
    """Which of the report's widths the true ones stand for; empty where they are the report's."""
    scaled = [f"{run.dim} for {REPORT_DIMS[run.name]}" for run in runs if run.dim != REPORT_DIMS[run.name]]
    return f"Scaled-down run: projector output {' and '.join(scaled)} of the report." if scaled else ""


def knn_note(runs: Sequence[Run], look: str) -> str:
    """The last epoch's kNN accuracies and the diagnoses."""
    floor = accuracy(runs[0].metrics, "random_init_knn_accuracy")
    reached = "; ".join(f"{run.label}: {accuracy(run.metrics, 'knn_accuracy')}" for run in runs)
    found = "; ".join(f"{run.label}: {diagnosis(run.metrics)}" for run in runs)
    return _sentences(
        look,
        f"After epoch {runs[0].epochs}, {reached}; {UNTRAINED}: {floor} (intervals over test images and seeds).",
        f"By the embeddings, {found}.",
        spread_of_seeds(runs),
    )


def loss_note(runs: Sequence[Run], look: str) -> str:
    """The last epoch's losses, each with the spread of its embeddings."""
    reached = "; ".join(
        f"{run.label}: loss {written(run.metrics['final_loss'], '.3f')}, "
        f"std {written(run.metrics['embedding_std'], '.2f')}, {diagnosis(run.metrics)}"
        for run in runs
    )
    return _sentences(
        look,
        "Embedding std: 1 when images spread evenly, 0 when all are one point.",
        f"After epoch {runs[0].epochs}, {reached}.",
        spread_of_seeds(runs),
    )


def collapse_note(runs: Sequence[Run]) -> str:
    """What collapse is, and who did."""
    fallen = [run for run in runs if run.metrics["collapsed"]]
    well = [run for run in runs if not run.metrics["collapsed"]]
    return _sentences(
        "Collapse: the encoder gives every image nearly the same embedding. Any two views then agree, so the loss "
        "looks like success, and nothing is learned. Look for lines that end in a shaded zone.",
        *(
            f"{_capital(run.label)}: {diagnosis(run.metrics)} (std {written(run.metrics['embedding_std'], '.2f')}, "
            f"rank {written(run.metrics['effective_rank'], '.1f')}, loss {written(run.metrics['final_loss'], '.2f')})."
            for run in fallen
        ),
        f"Not collapsed: {', '.join(run.label for run in well)}." if well else "",
        spread_of_seeds(runs),
    )


def comparison_note(runs: Sequence[Run]) -> str:
    """Which methods do not beat the untrained encoder, and which collapsed."""
    below = [run.label for run in runs if run.metrics["knn_accuracy"] <= run.metrics["random_init_knn_accuracy"]]
    fallen = [run.label for run in runs if run.metrics["collapsed"]]
    return _sentences(
        "Test images classified correctly from frozen features; bars: intervals over test images and seeds. Dashed and "
        "dotted: the untrained encoder's kNN and linear accuracy, which a method must beat to have learned anything.",
        f"At or below it by kNN: {', '.join(below) or 'none'}.",
        f"Collapsed (hollow): {', '.join(fallen) or 'none'}.",
    )


def cost_note(runs: Sequence[Run], timings: Sequence[Mapping]) -> str:
    """Where the times come from and how to read the curves."""
    places = dict.fromkeys(f"{_device(timing['device'])}, {timing['threads']} threads" for timing in timings)
    return _sentences(
        f"kNN accuracy against the training time of one encoder, without evaluations ({' / '.join(places)}). Look for "
        "the curve that lies highest above a given time; its end is what the whole training costs and buys.",
        spread_of_seeds(runs),
        "Bar at the end: interval over test images and seeds.",
    )


def _device(name: str) -> str:
    return name.upper() if name in ("cpu", "mps") else name


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]


def _sentences(*parts: str) -> str:
    return " ".join(part for part in parts if part)


# Layout ---------------------------------------------------------------------------------------------------------------


def _finish(path: Path, page: Figure, title: str, note: str) -> None:
    """Puts the headline above the plots, however long its note, and saves."""
    width, plots = page.get_size_inches()
    lines = textwrap.wrap(note, NOTE_COLUMNS)
    total = plots + 0.4 + 0.172 * len(lines)
    page.set_size_inches(width, total)
    page.tight_layout(rect=(0, 0, 1, plots / total))
    style.headline(page, title, "\n".join(lines))
    style.save(page, path)


def spread_out(heights: Sequence[float], gap: float) -> list[float]:
    """The heights moved to lie at least `gap` apart within [0, 1], by the least squares (pool adjacent violators)."""
    order = np.argsort(heights, kind="stable")
    # Less the gaps that are due below each, the heights need only rise; groups that would fall share their mean.
    groups: list[list[float]] = []
    for place, index in enumerate(order):
        groups.append([heights[index] - gap * place])
        while len(groups) > 1 and np.mean(groups[-2]) >= np.mean(groups[-1]):
            groups[-2:] = [groups[-2] + groups[-1]]
    means = np.clip([np.mean(group) for group in groups for _ in group], 0, max(0, 1 - gap * (len(order) - 1)))
    placed = np.empty(len(order))
    placed[order] = means + gap * np.arange(len(order))
    return placed.tolist()


def _name_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Names curves beside the right edge, each tied to its end; ends: (x, y, name, colour).

    Call it when the limits are set.
    """
    low, high = axes.get_ylim()
    right = axes.get_xlim()[1]
    lines = max(name.count("\n") + 1 for _, _, name, _ in ends)
    inches = axes.figure.get_size_inches()[1] - 0.75  # less the axis below
    heights = spread_out([(y - low) / (high - low) for _, y, _, _ in ends], LINE * lines / inches)
    across = axes.get_yaxis_transform()  # x as a share of the width, y as data
    for (x, y, name, colour), height in zip(ends, heights, strict=True):
        level = low + height * (high - low)
        axes.plot([x, right], [y, y], color=colour, linewidth=0.8, alpha=0.45, zorder=1)
        axes.plot([1, 1.025], [y, level], color=colour, linewidth=0.8, transform=across, clip_on=False)
        axes.text(1.032, level, name, color=colour, fontsize=LABEL, va="center", transform=across, linespacing=1.1)


def _plot_runs(axes: Axes, runs: Sequence[Run], column: str, markersize: float = 7) -> None:
    """A line for each run, the mean over seeds, in a band from the lowest to the highest seed."""
    rows = pd.concat([run.history.assign(run=run.name) for run in runs], ignore_index=True).dropna(subset=[column])
    sns.lineplot(
        rows,
        x="epoch",
        y=column,
        hue="run",
        palette={run.name: run.colour for run in runs},
        marker="o" if rows["epoch"].nunique() <= MARKED else None,
        markersize=markersize,
        errorbar=("pi", 100),
        legend=False,
        ax=axes,
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(0, 1.02 * rows["epoch"].max())


# Figures of the report ------------------------------------------------------------------------------------------------


def knn_curves(path: Path, title: str, note: str, runs: Sequence[Run], classes: int | None = None) -> None:
    """kNN accuracy at the measured epochs, over the untrained encoder's and, where classes are known, chance."""
    page, axes = plt.subplots(figsize=(style.WIDTH, HEIGHT))
    _plot_runs(axes, runs, "knn_accuracy")
    last = runs[0].epochs
    floor = runs[0].metrics["random_init_knn_accuracy"]
    ends = [(run.epochs, run.mean("knn_accuracy").iloc[-1], _ending(run, "knn_accuracy"), run.colour) for run in runs]
    axes.axhline(floor, color=style.INK, linestyle="--", linewidth=1.3)
    ends.append((last, floor, f"{UNTRAINED}\n{written(floor, '.1%')}", style.INK))
    if classes:
        axes.axhline(1 / classes, color=style.MUTED, linestyle=":", linewidth=1.5)
        ends.append((last, 1 / classes, f"chance\n{written(1 / classes, '.1%')}", style.MUTED))
    top = max(floor, *(run.history["knn_accuracy"].max() for run in runs))
    axes.set(xlabel="epoch", ylabel="kNN accuracy, test images", ylim=(0, min(1.02, 1.12 * top)))
    axes.yaxis.set_major_formatter(lambda value, _: written(value, ".0%"))
    _name_ends(axes, ends)
    _finish(path, page, title, note)


def loss_curves(path: Path, title: str, note: str, runs: Sequence[Run]) -> None:
    """Training loss of every epoch, above its floor."""
    page, axes = plt.subplots(figsize=(style.WIDTH, HEIGHT))
    _plot_runs(axes, runs, "loss")
    axes.axhline(FLOOR, color=style.INK, linestyle=":", linewidth=1.5)
    top = max(0.0, *(run.history["loss"].max() for run in runs))
    axes.set(xlabel="epoch", ylabel="training loss", ylim=(FLOOR - 0.06, top + 0.03))
    axes.yaxis.set_major_formatter(lambda value, _: written(value, ".1f"))
    ends = [(run.epochs, run.mean("loss").iloc[-1], _ending(run, "final_loss"), run.colour) for run in runs]
    _name_ends(axes, [*ends, (runs[0].epochs, FLOOR, "floor\n" + written(FLOOR, ".0f"), style.INK)])
    _finish(path, page, title, note)


def views(path: Path, images: np.ndarray) -> None:
    """Training images, each before its views; images: (rows, 1 + views, C, H, W)."""
    rows, columns = images.shape[:2]
    style.image_sheet(
        path,
        images.reshape(rows * columns, *images.shape[2:]),
        columns,
        figure(50).title,
        f"At the left the training image, then {columns - 1} of its views. SimSiam learns to give any two of them one "
        "embedding: ask what stays the same along a row, for that is all an encoder can keep.",
        [f"image {number + 1}" for number in range(rows)],
    )


def _ending(run: Run, key: str) -> str:
    return f"{run.label}\n{written(run.metrics[key], '.1%' if key.endswith('accuracy') else '.3f')}"


# Figures beyond the report --------------------------------------------------------------------------------------------


def collapse(path: Path, runs: Sequence[Run], thresholds: Mapping[str, float]) -> None:
    """Loss, spread of the embeddings, their rank and kNN accuracy over epochs, and where a collapse is diagnosed.

    Args:
        path: of the PNG.
        runs: all variants.
        thresholds: `embedding_std` and `effective_rank`; below either an embedding counts as collapsed.
    """
    page, cells = plt.subplots(2, 3, figsize=(style.WIDTH, max(5.6, 4.0 + 0.3 * len(runs))))
    loss, train, test, rank, knn, names = cells.flat
    of_simsiam = [run for run in runs if run.method == BASELINE]
    labelled = [run for run in runs if "knn_accuracy" in run.metrics]
    _diagnostic(loss, of_simsiam, "loss", "Training loss: −1 is best" + ("" if of_simsiam == list(runs) else "*"))
    loss.set(ylabel="training loss")
    loss.axhline(FLOOR, color=style.INK, linestyle=":", linewidth=1.5)
    loss.yaxis.set_major_formatter(lambda value, _: written(value, ".1f"))
    for axes, column, where in ((train, "embedding_std", "training"), (test, "test_embedding_std", "test")):
        _diagnostic(axes, runs, column, f"Spread, {where} images")
        axes.set(ylabel="embedding std", ylim=(-0.05, 1.08 * max(1.0, *(run.history[column].max() for run in runs))))
        axes.axhspan(-0.05, thresholds["embedding_std"], color=COLLAPSED, linewidth=0, zorder=0)
    _diagnostic(rank, runs, "effective_rank", "Directions in use, test images")
    rank.set(ylabel="effective rank", yscale="log", ylim=(0.8, None))
    rank.axhspan(0.8, thresholds["effective_rank"], color=COLLAPSED, linewidth=0, zorder=0)
    rank.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    rank.yaxis.set_minor_formatter(NullFormatter())
    if labelled:
        _diagnostic(knn, labelled, "knn_accuracy", "kNN accuracy, test images")
        knn.set(ylabel="kNN accuracy", ylim=(0, None))
        knn.yaxis.set_major_formatter(lambda value, _: written(value, ".0%"))
        knn.axhline(labelled[0].metrics["random_init_knn_accuracy"], color=style.INK, linestyle="--", linewidth=1.3)
    else:
        names.set_axis_off()
        names = knn
    names.set_axis_off()
    names.legend(**_legend_of_collapse(runs, thresholds, bool(labelled)))
    note = collapse_note(runs)
    if of_simsiam != list(runs):
        note += " *Losses of other methods have scales of their own and are left out."
    _finish(path, page, "Who collapses, when, and how one sees it", note)


def _diagnostic(axes: Axes, runs: Sequence[Run], column: str, title: str) -> None:
    _plot_runs(axes, runs, column, markersize=4)
    axes.set_title(title, fontsize=11, fontweight="normal")
    axes.set(xlabel="epoch", ylabel=column.replace("_", " "))
    for run in runs:
        since = run.metrics.get("collapsed_since_epoch")
        if run.metrics["collapsed"] and since is not None:
            mean = run.mean(column)
            level = np.interp(since, mean.index, mean)
            axes.plot(since, level, "X", color=run.colour, markeredgecolor="white", markersize=9, zorder=5)


def _legend_of_collapse(runs: Sequence[Run], thresholds: Mapping[str, float], labelled: bool) -> dict:
    lines = [Line2D([], [], color=run.colour, linewidth=2.5) for run in runs]
    words = [run.label + (" (collapsed)" if run.metrics["collapsed"] else "") for run in runs]
    lines += [
        Line2D([], [], color=style.MUTED, marker="X", linestyle="", markersize=9),
        Patch(color=COLLAPSED),
        Line2D([], [], color=style.INK, linestyle=":"),
    ]
    zone = f"zone of collapse: std below\n{thresholds['embedding_std']:g}, rank below {thresholds['effective_rank']:g}"
    words += ["from here on all seeds collapsed", zone, "floor of the loss"]
    if labelled:
        lines.append(Line2D([], [], color=style.INK, linestyle="--"))
        words.append(UNTRAINED)
    # Left of its cell, so that long names stay on the page.
    place = {"loc": "upper left", "bbox_to_anchor": (-0.3, 1.08), "frameon": False, "fontsize": LABEL}
    return {"handles": lines, "labels": words, **place}


def comparison(path: Path, runs: Sequence[Run]) -> None:
    """kNN and linear accuracy of each method with intervals, the best at the top, the untrained encoder below."""
    ranked = sorted(runs, key=lambda run: -run.metrics["knn_accuracy"])
    page, axes = plt.subplots(figsize=(style.WIDTH, 1.0 + 0.55 * (len(ranked) + 1)))
    for row, run in enumerate(ranked):
        _accuracies(axes, row, run.metrics, "", run.colour, hollow=run.metrics["collapsed"])
    last = len(ranked)
    _accuracies(axes, last, ranked[0].metrics, "random_init_", style.INK, hollow=False)
    for key, (_, _, line, _) in KINDS.items():
        # A row's own floor: the same for all while they share encoder and seeds, so the pieces make one line.
        for row, run in enumerate([*ranked, ranked[0]]):
            floor = run.metrics[f"random_init_{key}"]
            axes.plot([floor, floor], [row - 0.5, row + 0.5], color=style.INK, linestyle=line, linewidth=1.2, zorder=1)
    axes.axhline(last - 0.5, color="#cccccc", linewidth=1)
    names = [run.label + ("\ncollapsed" if run.metrics["collapsed"] else "") for run in ranked]
    axes.set_yticks(range(last + 1), [*names, UNTRAINED])
    for tick, run in zip(axes.get_yticklabels(), ranked, strict=False):
        tick.set_color(run.colour)
    axes.set(ylim=(last + 0.5, -0.5), xlim=(0, None), xlabel="accuracy, test images")
    axes.xaxis.set_major_formatter(lambda value, _: written(value, ".0%"))
    axes.grid(axis="y", visible=False)
    _finish(path, page, "All methods compared", comparison_note(ranked))


def _accuracies(axes: Axes, row: int, metrics: Mapping, prefix: str, colour: str, hollow: bool) -> None:
    """Both accuracies of one row, with their intervals, and their numbers at the right."""
    for key, (name, marker, _, offset) in KINDS.items():
        value, y = metrics[prefix + key], row + offset
        interval = metrics["intervals"][prefix + key]
        axes.plot([interval["low"], interval["high"]], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt")
        face = "white" if hollow else colour
        axes.plot(value, y, marker, color=colour, markerfacecolor=face, markeredgewidth=1.8, markersize=7)
        text = f"{name} {accuracy(metrics, prefix + key)}"
        axes.text(1.02, y, text, transform=axes.get_yaxis_transform(), fontsize=LABEL - 0.5, va="center")


def cost(path: Path, runs: Sequence[Run], seconds: Mapping[str, pd.DataFrame], timings: Sequence[Mapping]) -> None:
    """kNN accuracy against the time that training one encoder has taken so far.

    Args:
        path: of the PNG.
        runs: variants with labels.
        seconds: by variant, a table of epoch, seconds, seed.
        timings: the runs' files of metrics/timing/ssl.
    """
    page, axes = plt.subplots(figsize=(style.WIDTH, max(HEIGHT, 1 + 2 * LINE * (len(runs) + 1))))
    spent = {run.name: elapsed(seconds[run.name]) for run in runs}
    longest = max(float(times.iloc[-1]) for times in spent.values())
    unit, length = next(((unit, length) for unit, length in UNITS if longest >= 3 * length), UNITS[-1])
    ends = []
    for run in runs:
        times, value = spent[run.name], run.metrics["knn_accuracy"]
        rows = run.history.dropna(subset=["knn_accuracy"])
        rows = rows.assign(spent=rows["epoch"].map(times) / length)
        sns.lineplot(rows, x="spent", y="knn_accuracy", color=run.colour, marker="o", errorbar=("pi", 100), ax=axes)
        interval, end = run.metrics["intervals"]["knn_accuracy"], times.iloc[-1] / length
        axes.plot([end, end], [interval["low"], interval["high"]], color=run.colour, linewidth=2.2)
        ends.append((end, value, f"{run.label}\n{written(value, '.1%')} in {duration(times.iloc[-1])}", run.colour))
    floor = runs[0].metrics["random_init_knn_accuracy"]
    axes.axhline(floor, color=style.INK, linestyle="--", linewidth=1.3)
    top = max(max(run.metrics["intervals"]["knn_accuracy"]["high"], run.history["knn_accuracy"].max()) for run in runs)
    axes.set(xlabel=f"{unit} of training", ylabel="kNN accuracy, test images", ylim=(0, min(1.02, 1.08 * top)))
    axes.set_xlim(0, 1.03 * longest / length)
    axes.yaxis.set_major_formatter(lambda value, _: written(value, ".0%"))
    _name_ends(axes, [*ends, (longest / length, floor, f"{UNTRAINED}\n{written(floor, '.1%')}", style.INK)])
    _finish(path, page, "What training costs, and what it buys", cost_note(runs, timings))


def elapsed(seconds: pd.DataFrame) -> pd.Series:
    """Seconds since the start of training after each epoch, the mean over seeds; seconds: epoch, seconds, seed."""
    ordered = seconds.sort_values(["seed", "epoch"])
    return ordered.assign(spent=ordered.groupby("seed")["seconds"].cumsum()).groupby("epoch")["spent"].mean()


# All of them ----------------------------------------------------------------------------------------------------------

READ_KNN = "Look for a curve that stays at or below the dashed line: its encoder knows no more than random weights."
READ_LOSS = "The loss is a negative cosine: −1 (dotted) is its floor, and a success only where embeddings still differ."


def draw_report(
    folder: Path,
    variants: Mapping[str, Mapping],
    plots: Path = Path("plots/ssl"),
    metrics: Path = Path("metrics/ssl"),
    evaluations: Path = Path("evaluations/ssl"),
    classes: int | None = None,
) -> None:
    """Figures 44 to 50 from the study's files.

    A comparison whose variant the user removed is left out, and so is kNN accuracy where the images have no labels.

    Args:
        folder: where the PNGs go.
        variants: ssl.variants of params.yaml.
        plots: with <variant>_training.csv.
        metrics: with <variant>.json.
        evaluations: with <variant>/results.npz.
        classes: of the dataset; draws chance.
    """
    style.apply()
    runs = load(variants, plots, metrics)
    for name, (knn_number, loss_number) in PAIRS.items():
        if not {BASELINE, name} <= runs.keys():
            continue
        pair = [runs[BASELINE], runs[name]]
        titles = figure(knn_number).title, figure(loss_number).title
        notes = READ_KNN, READ_LOSS
        if name == WIDE:
            pair = [replace(run, label=f"projector output {run.dim}") for run in pair]
            titles = tuple(true_widths(title, pair) for title in titles)
            notes = (
                _sentences(stands_for(pair), "Ask whether the curves differ by more than their bands."),
                _sentences(stands_for(pair), "Ask whether the lower loss goes with the better accuracy."),
            )
        if all("knn_accuracy" in run.metrics for run in pair):
            knn_curves(figure_path(folder, knn_number), titles[0], knn_note(pair, notes[0]), pair, classes)
        loss_curves(figure_path(folder, loss_number), titles[1], loss_note(pair, notes[1]), pair)
    if BASELINE in runs:
        with np.load(evaluations / BASELINE / "results.npz", allow_pickle=False) as results:
            views(figure_path(folder, 50), results["views"])


def true_widths(title: str, runs: Sequence[Run]) -> str:
    """A title of the report with the widths of this run in place of the report's."""
    widths = {str(REPORT_DIMS[run.name]): str(run.dim) for run in runs}
    return re.sub("|".join(widths), lambda found: widths[found.group()], title)


def draw_beyond(
    paths: Mapping[str, Path],
    variants: Mapping[str, Mapping],
    thresholds: Mapping[str, float],
    plots: Path = Path("plots/ssl"),
    metrics: Path = Path("metrics/ssl"),
    timing: Path = Path("metrics/timing/ssl"),
) -> None:
    """The figures beyond the report, of all variants; the last two need labels.

    Args:
        paths: where `collapse`, `comparison` and `cost` go.
        variants: ssl.variants of params.yaml.
        thresholds: ssl.evaluation.collapse of params.yaml.
        plots: with <variant>_training.csv and <variant>_timing.csv.
        metrics: with <variant>.json.
        timing: with <variant>.json.
    """
    style.apply()
    runs = list(load(variants, plots, metrics).values())
    collapse(paths["collapse"], runs, thresholds)
    labelled = [run for run in runs if {"knn_accuracy", "linear_accuracy"} <= run.metrics.keys()]
    if labelled:
        comparison(paths["comparison"], labelled)
        seconds = {run.name: pd.read_csv(plots / f"{run.name}_timing.csv") for run in labelled}
        timings = [json.loads((timing / f"{run.name}.json").read_text(encoding="utf-8")) for run in labelled]
        cost(paths["cost"], labelled, seconds, timings)
