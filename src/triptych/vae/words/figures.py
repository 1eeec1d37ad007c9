"""Figures of the VAE: figures 1 to 27 of the report, samples from two priors, and latent traversals."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from triptych.report import drawing, generated_figures
from triptych.report.reader import Results, UnmeasuredError
from triptych.report.record import Figure
from triptych.report.sentences import Facts, literal

IMAGES, LATENTS = generated_figures.images_path("vae"), "plots/vae/latents"
SNAPSHOTS = (1, 10, 15, 20, 25)  # epochs that the report shows
CLASSES = 10  # in the report's data
STRONGEST = 3  # latents that stand out per class; the metric top_latents_share sums as many
INTERPOLATIONS = 3  # as in the report
NATS = " nats per image"


def reconstruction_bands(arrays: Mapping[str, np.ndarray], rows: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Return (name, images) pairs: test images and their reconstructions in turn. The mask `rows` selects one epoch."""
    originals, [rebuilt] = arrays["originals"], arrays["epoch_reconstructions"][rows]
    bands = []
    for start in range(0, len(rebuilt), drawing.COLUMNS):
        row = slice(start, start + drawing.COLUMNS)
        bands += [("test image", originals[row]), ("reconstruction", rebuilt[row])]
    return bands


def class_latents(number: int, index: int) -> Figure:
    """Return figure `number`: mean and standard deviation of each latent over the test images of class `index`."""

    def strongest(rows: list[dict]) -> tuple[str, list[int]]:
        # Name of the class, and indices of the rows for its latents with the largest shares.
        classes = list(dict.fromkeys(row["class"] for row in rows))
        if index >= len(classes):
            raise UnmeasuredError(f"this figure needs at least {index + 1} classes; the images have {len(classes)}")
        indices = [position for position, row in enumerate(rows) if row["class"] == classes[index]]
        return classes[index], sorted(indices, key=lambda position: -rows[position]["share"])[:STRONGEST]

    def draw(path: Path, results: Results) -> None:
        table = results.table(f"{LATENTS}.csv", "class", "latent", "mean", "std", "share")
        name, indices = strongest(table.to_dict("records"))
        latents = table[table["class"] == name].sort_values("latent")
        top = latents["latent"].isin(table["latent"].iloc[indices])
        with drawing.chart(path, height=3.2, legend=2) as [[axes]]:
            for rows, colour, of_bar, label in (
                (latents[top], drawing.PALETTE[1], drawing.PALETTE[1], f"the {STRONGEST} strongest"),
                (latents[~top], drawing.PALE, "#999999", "other latents"),
            ):
                axes.bar(rows["latent"], rows["mean"], yerr=rows["std"], color=colour, ecolor=of_bar, label=label)
            axes.axhline(0, color=drawing.INK, linewidth=0.8)
            axes.set(xlabel="latent variable", ylabel="mean of μ, ± 1 std")
            axes.grid(axis="x", visible=False)

    def result(facts: Facts) -> str:
        rows = facts.content(LATENTS)
        name, indices = strongest(rows)
        shares = ", ".join(f"z{rows[at]['latent']} {{{LATENTS}!p:{at}.share}}" for at in indices)
        return f"Share in the squared distance of class {literal(name)} from the mean of all images: {shares}."

    return Figure(
        number=number,
        slug=f"vae_latents_{index}",
        title=f"Latent variables of class {index}",
        caption=f"Mean and standard deviation of each latent over the images of the class. The {STRONGEST} latents "
        "that contribute most to the distance between the class and the mean of all images are highlighted.",
        group="Latent variables of each class",
        draw=draw,
        result=result,
    )


def draw_interpolations(path: Path, results: Results) -> None:
    """Draw one row of images per interpolation, decoded from evenly spaced points on a line in latent space."""
    images = results.arrays(IMAGES)["interpolations"][:INTERPOLATIONS]
    if not len(images):
        raise results.metrics("vae").missing("interpolation_smoothness")
    drawing.image_sheet(path, [("", row) for row in images], columns=images.shape[1])


def draw_priors(path: Path, results: Results) -> None:
    """Draw samples from the standard normal prior, samples from the fitted prior, reconstructions, and test images."""
    arrays = results.arrays(IMAGES)
    originals = arrays["originals"]
    bands = [
        ("N(0, I)", arrays["samples"]),
        ("fitted prior", arrays["fitted_samples"]),
        ("reconstructions", arrays["epoch_reconstructions"][-1]),
        ("test images", originals),
    ]
    drawing.image_sheet(path, [(name, images[: len(originals)]) for name, images in bands])


def draw_traversals(path: Path, results: Results) -> None:
    """Draw one row of images per traversal. In each row, one latent varies and the others are constant."""
    arrays = results.arrays(IMAGES)
    rows = [(f"z{latent}", row) for latent, row in zip(arrays["traversed"], arrays["traversals"], strict=True)]
    drawing.image_sheet(path, rows, columns=arrays["traversals"].shape[1])


FIGURES = (
    generated_figures.wall_clock(
        generated_figures.VAE_WALL_CLOCK, "vae", "The report says that the time per epoch is steady."
    ),
    *(
        generated_figures.samples_after_epoch(number, "vae", epoch, NATS)
        for number, epoch in enumerate(SNAPSHOTS, start=2)
    ),
    *(
        generated_figures.images_after_epoch(
            number,
            "vae",
            epoch,
            content="reconstructions",
            caption="Test images, each above its reconstruction, which is decoded from the mean of the posterior.",
            bands=reconstruction_bands,
            loss="reconstruction term of the loss",
            key="nll",
            unit=NATS,
            shows_data=True,
        )
        for number, epoch in enumerate(SNAPSHOTS, start=7)
    ),
    *generated_figures.final_samples(
        generated_figures.VAE_FINAL_SAMPLES,
        "vae",
        "The report calls such samples blurry.",
        (
            "The judge recognises {vae:recognisability} of the VAE's samples and {vae!v:real_recognisability} of test "
            "images.",
            "The VAE's samples have a sharpness ratio of {vae:sharpness_ratio}; 1 is as sharp as real images.",
            "Fréchet distance to the test images: samples {vae:frechet_distance}, training images "
            "{vae!v:frechet_floor}.",
            "The judge reads the right class in {vae:reconstruction_same_class} of the VAE's reconstructions.",
            "The judge recognises {vae!v:recognisability} of the VAE's samples and {ddpm!v:recognisability} of the "
            "DDPM's.",
        ),
    ),
    *(class_latents(17 + index, index) for index in range(CLASSES)),
    Figure(
        number=27,
        slug="vae_interpolations",
        title="VAE interpolations in latent space",
        caption="Each row decodes evenly spaced points on the line between the latents of two test images. The report "
        "calls the change smooth.",
        group="Interpolation",
        draw=draw_interpolations,
        result="The largest step in the judge's features is {vae:interpolation_smoothness} times the mean step; 1 is "
        "perfectly even.",
    ),
    Figure(
        number=63,
        slug="vae_priors",
        title="Two priors with the same decoder",
        caption="Samples from N(0, I), the prior used in training; samples from a mixture of Gaussians that was fitted "
        "to the latents after training; reconstructions of test images; and these test images.",
        draw=draw_priors,
        result="Recognised by the judge: {vae:recognisability} of samples from N(0, I), "
        "{vae:fitted_prior.recognisability} from the fitted prior. Fréchet distance: {vae:frechet_distance} and "
        "{vae:fitted_prior.frechet_distance}.",
    ),
    Figure(
        number=55,
        slug="vae_latent_traversals",
        title="Latent traversals",
        caption="In each row one latent changes from −3 to 3, while the others keep the values of one test image. The "
        "rows show the latents that vary most.",
        draw=draw_traversals,
        result="{vae:active_units} latents are active: their mean varies over test images.",
    ),
)
