"""Figures 1 to 27: the VAE study."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import MaxNLocator

from triptych.drawing import style
from triptych.studies.catalogue import figure_path
from triptych.studies.epochs import stand_in

# The epochs that the report shows, of its 30.
REPORT_EPOCHS, REPORT_TOTAL = (1, 10, 15, 20, 25), 30


def wall_clock(path: Path, seconds: pd.DataFrame, timing: dict, name: str) -> None:
    """Time per epoch and in total against the epoch; `seconds` has columns epoch, seconds."""
    figure, (each, total) = plt.subplots(1, 2, figsize=(style.WIDTH, 4.1))
    sns.lineplot(seconds, x="epoch", y="seconds", marker="o", ax=each, errorbar=None)
    each.axhline(seconds["seconds"].median(), color=style.MUTED, linestyle="--", linewidth=1)
    each.set(xlabel="epoch", ylabel="seconds for the epoch", ylim=(0, 1.25 * seconds["seconds"].max()))
    each.set_title("each epoch (dashed: median)", fontweight="normal", fontsize=10.5)
    sns.lineplot(x=seconds["epoch"], y=seconds["seconds"].cumsum() / 60, marker="o", ax=total, errorbar=None)
    total.set(xlabel="epoch", ylabel="minutes since the start", ylim=(0, None))
    total.set_title("in total", fontweight="normal", fontsize=10.5)
    for axes in (each, total):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    spread = seconds["seconds"].std() / seconds["seconds"].mean()
    figure.tight_layout(rect=(0, 0, 1, 0.86))
    style.headline(
        figure,
        f"{name}: wall-clock training time",
        f"{timing['device']}, {timing['threads']} threads, torch {timing['torch']}: "
        f"{timing['images_per_second']:,.0f} images/s; epochs spread by {spread:.1%} (std over mean). "
        "A straight line at the right means steady epochs.",
    )
    style.save(figure, path)


def samples(path: Path, images: np.ndarray, epoch: int, epochs: int, name: str) -> None:
    """A sheet of 64 samples after an epoch."""
    style.image_sheet(
        path,
        images,
        16,
        f"{name} samples after epoch {epoch} of {epochs}",
        "Every such sheet starts from the same 64 draws of noise: compare one place across epochs.",
    )


def reconstructions(path: Path, originals: np.ndarray, images: np.ndarray, epoch: int, epochs: int) -> None:
    """Test images above what the VAE makes of them, in bands of 16."""
    bands = [part for start in range(0, len(images), 16) for part in (originals[start:][:16], images[start:][:16])]
    names = ["test image", "reconstruction"] * (len(bands) // 2)
    error = np.mean(np.square((originals.astype(float) - images) / 127.5))
    style.image_sheet(
        path,
        np.concatenate(bands),
        16,
        f"VAE reconstructions of test images after epoch {epoch} of {epochs}",
        f"Each reconstruction stands below its original (decoded from the posterior mean). "
        f"Mean squared error of those shown, on [-1, 1]: {error:.3f}.",
        names,
    )


def one_sample(
    path: Path, image: np.ndarray, probabilities: np.ndarray, classes: list[str], number: int, name: str
) -> None:
    """One sample, enlarged, beside what the judge reads in it."""
    figure, (picture, bars) = plt.subplots(1, 2, figsize=(style.WIDTH, 3.9), width_ratios=(1, 1.15))
    style.show(picture, np.broadcast_to(image.transpose(1, 2, 0), (*image.shape[1:], 3)))
    best = int(probabilities.argmax())
    colours = [style.ACCENT if c == best else "#c9d6df" for c in range(len(classes))]
    sns.barplot(x=list(classes), y=probabilities, hue=list(classes), palette=colours, legend=False, ax=bars)
    bars.set(xlabel="class", ylabel="judge's probability", ylim=(0, 1))
    figure.tight_layout(rect=(0, 0, 1, 0.84))
    style.headline(
        figure,
        f"{name} sample {number} of 5 at the end of training",
        f"The first five draws, not chosen. The judge reads a {classes[best]} with {probabilities[best]:.0%}.",
    )
    style.save(figure, path)


def class_latents(path: Path, table: pd.DataFrame, name: str, top: int = 3) -> None:
    """Bars of the mean of mu per latent over one class, with its spread; the strongest latents are named."""
    rows = table[table["class"].astype(str) == name].sort_values("latent")
    strongest = rows.nlargest(top, "share")
    figure, axes = plt.subplots(figsize=(style.WIDTH, 4.2))
    colours = [style.ACCENT if latent in set(strongest["latent"]) else "#8fb3cc" for latent in rows["latent"]]
    axes.bar(rows["latent"], rows["mean"], yerr=rows["std"], color=colours, ecolor="#999999", capsize=2, linewidth=0)
    axes.axhline(0, color=style.INK, linewidth=0.8)
    axes.set(xlabel="latent variable", ylabel="mean of μ (±1 std)")
    axes.set_xticks(rows["latent"][:: max(1, len(rows) // 16)])
    axes.set_xlim(-0.7, len(rows) - 0.3)
    figure.tight_layout(rect=(0, 0, 1, 0.85))
    named = ", ".join(f"z{row.latent} ({row.share:.0%})" for row in strongest.itertuples())
    style.headline(
        figure,
        f"Latent variables of class {name}",
        f"Orange: the {top} latents that set this class apart most, with their share of the class mean's distance "
        f"from the overall mean: {named}; together {strongest['share'].sum():.0%}.",
    )
    style.save(figure, path)


def interpolations(path: Path, images: np.ndarray, evenness: float) -> None:
    """Rows of images decoded along straight lines in latent space; images: (rows, steps, C, H, W)."""
    rows, steps = images.shape[:2]
    style.image_sheet(
        path,
        images.reshape(rows * steps, *images.shape[2:]),
        steps,
        "VAE interpolations between two test images in latent space",
        f"Each row decodes {steps} equal steps between the posterior means of two digits of different class. Over all "
        f"measured pairs the largest step in the judge's features is {evenness:.2f} times the mean step (1: even).",
    )


def traversals(path: Path, images: np.ndarray, latents: np.ndarray) -> None:
    """Rows of images in which one latent moves from -3 to 3; images: (rows, steps, C, H, W)."""
    rows, steps = images.shape[:2]
    style.image_sheet(
        path,
        images.reshape(rows * steps, *images.shape[2:]),
        steps,
        "VAE latent traversals around one test image",
        f"Each row moves one latent from -3 to 3 and keeps the others: the {rows} latents that vary most.",
        [f"z{latent}" for latent in latents],
    )


def draw_all(folder: Path, images: Path, plots: Path, timing: Path, metrics: Path) -> None:
    """Figures 1 to 27, and the traversals beyond the report, from the study's files.

    Args:
        folder: where the PNGs go.
        images: evaluations/vae/images.npz.
        plots: plots/vae, with timing.csv and latents.csv.
        timing: metrics/timing/vae.json.
        metrics: metrics/vae.json.
    """
    style.apply()
    arrays = np.load(images, allow_pickle=False)
    seconds, latents = pd.read_csv(plots / "timing.csv"), pd.read_csv(plots / "latents.csv", dtype={"class": str})
    classes = list(dict.fromkeys(latents["class"]))
    epochs = int(seconds["epoch"].max())
    kept = sorted(int(name.split("_")[1]) for name in arrays.files if name.startswith("samples_"))

    wall_clock(figure_path(folder, 1), seconds, json.loads(timing.read_text()), "VAE")
    for position, report_epoch in enumerate(REPORT_EPOCHS):
        epoch = stand_in(report_epoch, REPORT_TOTAL, kept, epochs)
        samples(figure_path(folder, 2 + position), arrays[f"samples_{epoch}"], epoch, epochs, "VAE")
        rebuilt = arrays[f"reconstructions_{epoch}"]
        reconstructions(figure_path(folder, 7 + position), arrays["originals"], rebuilt, epoch, epochs)
    for position, image in enumerate(arrays["final_samples"]):
        probabilities = arrays["final_probabilities"][position]
        one_sample(figure_path(folder, 12 + position), image, probabilities, classes, position + 1, "VAE")
    # The report has ten classes; a dataset with fewer leaves the last of these figures out.
    for position, name in enumerate(classes[:10]):
        class_latents(figure_path(folder, 17 + position), latents, name)
    evenness = json.loads(metrics.read_text())["interpolation_smoothness"]
    interpolations(figure_path(folder, 27), arrays["interpolations"], evenness)
    traversals(figure_path(folder, 55), arrays["traversals"], arrays["traversed"])
