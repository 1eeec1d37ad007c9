"""Figures 28 to 43: the DDPM study; and beyond the report, restoration over t and what a sample costs."""

import itertools
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from triptych.drawing import style
from triptych.studies.catalogue import DDPM_EPOCHS, figure_path
from triptych.studies.epochs import stand_in
from triptych.studies.vae.figures import one_sample, samples, wall_clock

REPORT_TOTAL = 30
# The times of the report's figures 35 to 38, each with the number of its first figure.
REPORT_TIMES = {30: 35, 120: 37}
SHEET_COLUMNS = 16


def noised(path: Path, states: np.ndarray, t: int, sigma: float) -> None:
    """One test image on its way to time t; states: (states, C, H, W), the image first."""
    style.image_sheet(
        path,
        states,
        len(states),
        f"A test image noised to t = {t}",
        f"From the original at the left to t = {t} at the right, in even steps of the report's linear schedule "
        f"(T = 1000, t counted from 1). There the noise has standard deviation {sigma:.3f} on [-1, 1].",
    )


def restored(path: Path, states: np.ndarray, original: np.ndarray, t: int, reading: str, row: dict) -> None:
    """The same image on its way back, then the original; original: (1, C, H, W)."""
    style.image_sheet(
        path,
        np.concatenate([states, original]),
        len(states) + 1,
        f"The same image restored from t = {t}",
        f"From the noised image at the left through the reverse process; the last is the original. {reading} Over the "
        f"test images: {row['same_class']:.1%} keep their class, SSIM {row['ssim']:.2f}, PSNR {row['psnr']:.1f} dB.",
    )


def restorations(path: Path, originals: np.ndarray, restored_at: dict[int, np.ndarray]) -> None:
    """The same test images restored from each time, a row each, below the originals."""
    style.image_sheet(
        path,
        np.concatenate([originals, *restored_at.values()]),
        len(originals),
        "What comes back from which noise",
        "The first test images, and what the reverse process makes of them from ever later times. Look for what goes "
        "first: details, the digit, or its colours.",
        ["original", *(f"from t = {t}" for t in restored_at)],
    )


def restoration_curve(path: Path, table: pd.DataFrame, half: float, reached: bool) -> None:
    """Same-class rate, SSIM and PSNR against t; table: t, metric, value, low, high."""
    names = {"same_class": "share that keeps its class", "ssim": "SSIM to the original", "psnr": "PSNR, dB"}
    figure, panels = plt.subplots(1, 3, figsize=(style.WIDTH, 3.9))
    for axes, (metric, label) in zip(panels, names.items(), strict=True):
        rows = table[table["metric"] == metric].sort_values("t")
        sns.lineplot(rows, x="t", y="value", marker="o", ax=axes, errorbar=None)
        axes.fill_between(rows["t"], rows["low"], rows["high"], alpha=0.2)
        for t in REPORT_TIMES:
            axes.axvline(t, color=style.ACCENT, linestyle="--", linewidth=1.2)
        axes.set(xlabel="t (linear schedule, T = 1000)", ylabel=label, xscale="log")
        ticks = sorted({int(rows["t"].min()), int(rows["t"].max()), *REPORT_TIMES})
        axes.set_xticks(ticks, [str(t) for t in ticks], fontsize=9)
        axes.minorticks_off()
        if metric != "psnr":
            axes.set_ylim(0, 1.03)
    figure.tight_layout(rect=(0, 0, 1, 0.84))
    until = f"Half have changed class at t = {half:.0f}." if reached else f"At t = {half:.0f} most still keep it."
    style.headline(
        figure,
        "How much noise the reverse process can undo",
        f"Test images noised to t and restored; dashed: the report's t = 30 and 120. {until} Bands: intervals over "
        "test images.",
    )
    style.save(figure, path)


def sampling_cost(path: Path, table: pd.DataFrame, seconds: pd.DataFrame, floor: float) -> None:
    """Fréchet distance against seconds an image, a line for each sampler.

    Args:
        table: sampler, steps, samples, frechet_distance, low, high.
        seconds: sampler, steps, seconds_per_image.
        floor: distance of training from test images.
    """
    rows = table.merge(seconds, on=["sampler", "steps"]).sort_values("seconds_per_image")
    figure, axes = plt.subplots(figsize=(style.WIDTH, 4.6))
    # Samplers of equal steps cost almost the same: each has its own corner for the labels.
    corners = itertools.cycle([(5, -14), (5, 6), (-5, -14), (-5, 6)])
    groups = rows.groupby("sampler", sort=False)
    for colour, corner, (name, group) in zip(style.PALETTE, corners, groups, strict=False):
        spread = np.abs(group[["low", "high"]].to_numpy().T - group["frechet_distance"].to_numpy())
        axes.errorbar(
            group["seconds_per_image"],
            group["frechet_distance"],
            yerr=spread,
            marker="o",
            capsize=3,
            color=colour,
            label=name.replace("_", " "),
        )
        for row in group.itertuples():
            axes.annotate(
                f"{row.steps:,}",
                (row.seconds_per_image, row.frechet_distance),
                xytext=corner,
                textcoords="offset points",
                ha="left" if corner[0] > 0 else "right",
                fontsize=9,
                color=colour,
            )
    axes.axhline(floor, color=style.MUTED, linestyle=":", linewidth=1.2, label="training against test images")
    axes.set(xlabel="seconds for one image", ylabel="Fréchet distance (lower is better)", xscale="log", ylim=(0, None))
    # Whole decades are far apart here, and matplotlib's ticks between them overlap.
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.1)
    axes.legend(frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.86))
    counts = sorted(set(rows["samples"]))
    style.headline(
        figure,
        "What a sample costs, and what it is worth",
        f"The same weights under other samplers, {' or '.join(f'{count:,}' for count in counts)} samples each (fewer "
        "samples measure a larger distance). Numbers are steps: look for the one beyond which nothing is gained.",
    )
    style.save(figure, path)


def draw_report(folder: Path, images: Path, plots: Path, timing: Path, metrics: Path) -> None:
    """Figures 28 to 43 from the study's files.

    Args:
        folder: where the PNGs go.
        images: evaluations/ddpm/images.npz.
        plots: plots/ddpm, with timing.csv.
        timing: metrics/timing/ddpm.json.
        metrics: metrics/ddpm.json.
    """
    style.apply()
    arrays = np.load(images, allow_pickle=False)
    seconds, numbers = pd.read_csv(plots / "timing.csv"), json.loads(metrics.read_text())
    classes = [str(name) for name in arrays["classes"]]
    epochs = int(seconds["epoch"].max())
    kept = sorted(int(name.split("_")[1]) for name in arrays.files if name.startswith("samples_"))

    wall_clock(figure_path(folder, 28), seconds, json.loads(timing.read_text()), "DDPM")
    for position, report_epoch in enumerate(DDPM_EPOCHS):
        epoch = stand_in(report_epoch, REPORT_TOTAL, kept, epochs)
        samples(figure_path(folder, 29 + position), arrays[f"samples_{epoch}"], epoch, epochs, "DDPM")
    rows = {row["t"]: row for row in numbers["restoration"]}
    for t, number in REPORT_TIMES.items():
        noised(figure_path(folder, number), arrays[f"strip_forward_{t}"], t, rows[t]["sigma"])
        reading = _reading(arrays[f"strip_probabilities_{t}"][0], classes)
        backward = arrays[f"strip_backward_{t}"]
        restored(figure_path(folder, number + 1), backward, arrays["strip_original"], t, reading, rows[t])
    for position, image in enumerate(arrays["final_samples"]):
        probabilities = arrays["final_probabilities"][position]
        one_sample(figure_path(folder, 39 + position), image, probabilities, classes, position + 1, "DDPM")


def draw_beyond(paths: dict[str, Path], images: Path, plots: Path, sampling: Path, metrics: Path) -> None:
    """The figures beyond the report.

    Args:
        paths: where `restorations`, `restoration_curve` and `sampling_cost` go.
        images: evaluations/ddpm/images.npz.
        plots: plots/ddpm, with restoration.csv and sampling.csv.
        sampling: metrics/timing/ddpm_sampling.json.
        metrics: metrics/ddpm.json.
    """
    style.apply()
    arrays, numbers = np.load(images, allow_pickle=False), json.loads(metrics.read_text())
    times = [row["t"] for row in numbers["restoration"]]
    shown = {t: arrays[f"restored_{t}"] for t in times}
    restorations(paths["restorations"], arrays["originals"], shown)
    curve = pd.read_csv(plots / "restoration.csv")
    restoration_curve(paths["restoration_curve"], curve, numbers["half_restored_t"], numbers["half_restored_reached"])
    table = pd.read_csv(plots / "sampling.csv")
    if len(table):
        seconds = pd.DataFrame(json.loads(sampling.read_text())["sampling"])
        sampling_cost(paths["sampling_cost"], table, seconds, numbers["frechet_floor"])


def _reading(probabilities: np.ndarray, classes: list[str]) -> str:
    best = int(probabilities.argmax())
    return f"The judge reads a {classes[best]} in the restored image ({probabilities[best]:.0%})."
