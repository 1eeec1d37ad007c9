"""Bars: the probabilities of classes beside an image, and values with their spread of which a few stand out."""

from collections.abc import Collection, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from triptych.report.drawing import sheets, style

PALE, PALE_ACCENT = "#c9d6df", "#8fb3cc"


def image_and_probabilities(
    path: Path, image: np.ndarray, classes: Sequence[str], probabilities: np.ndarray, label: str, title: str, note: str
) -> None:
    """An image (C, H, W), enlarged, beside the probability of each class; the most probable stands out."""
    figure, (picture, bars) = plt.subplots(1, 2, figsize=(style.WIDTH, 3.9), width_ratios=(1, 1.15))
    sheets.show(picture, np.broadcast_to(image.transpose(1, 2, 0), (*image.shape[1:], 3)))
    best = int(probabilities.argmax())
    colours = [style.ACCENT if c == best else PALE for c in range(len(classes))]
    sns.barplot(x=list(classes), y=probabilities, hue=list(classes), palette=colours, legend=False, ax=bars)
    bars.set(xlabel="class", ylabel=label, ylim=(0, 1))
    style.finish_below(path, figure, 0.84, title, note)


def values_with_spread(
    path: Path,
    places: Sequence[int],
    values: Sequence[float],
    spreads: Sequence[float],
    strongest: Collection[int],
    labels: tuple[str, str],
    title: str,
    note: str,
) -> None:
    """A bar with its spread at each place; those in `strongest` stand out. labels: of the axes, x and y."""
    figure, axes = plt.subplots(figsize=(style.WIDTH, 4.2))
    colours = [style.ACCENT if place in strongest else PALE_ACCENT for place in places]
    axes.bar(places, values, yerr=spreads, color=colours, ecolor="#999999", capsize=2, linewidth=0)
    axes.axhline(0, color=style.INK, linewidth=0.8)
    axes.set(xlabel=labels[0], ylabel=labels[1])
    axes.set_xticks(places[:: max(1, len(places) // 16)])
    axes.set_xlim(-0.7, len(places) - 0.3)
    style.finish_below(path, figure, 0.85, title, note)
