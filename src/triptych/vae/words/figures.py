"""The figures of the VAE: the report's 1 to 27, and traversals of its latents."""

from pathlib import Path

import numpy as np

from triptych.report import generated
from triptych.report.drawing import bars, sheets
from triptych.report.generated import REPORT_TOTAL, after_epoch
from triptych.report.reader import Results, UnmeasuredError
from triptych.report.record import Figure
from triptych.report.sentences import Facts, literal
from triptych.vae.words.claims import LATENTS, TOP

IMAGES = "samples/vae/images.npz"
# The epochs that the report shows, of its 30.
REPORT_EPOCHS = (1, 10, 15, 20, 25)
CLASSES = 10  # the report's; a dataset with fewer leaves the last figures of classes out
PATHS = 3  # interpolations, as in the report


def reconstructions(number: int, report_epoch: int) -> Figure:
    """Test images and what the VAE makes of them after an epoch."""

    def draw(path: Path, results: Results) -> None:
        arrays = results.arrays(IMAGES)
        row, epoch, epochs = generated.kept_epoch(results, "vae", arrays, report_epoch)
        originals, images = arrays["originals"], arrays["epoch_reconstructions"][row]
        error = np.mean(np.square((originals.astype(float) - images) / 127.5))
        sheets.pairs(
            path,
            originals,
            images,
            ("test image", "reconstruction"),
            f"VAE reconstructions of test images after epoch {epoch} of {epochs}",
            f"Each reconstruction stands below its original (decoded from the posterior mean). "
            f"Mean squared error of those shown, on [-1, 1]: {error:.3f}.",
        )

    return Figure(
        number=number,
        slug=f"vae_reconstructions_{report_epoch}",
        title=f"VAE reconstructions, the report's epoch {report_epoch} of {REPORT_TOTAL}",
        caption=f"The report shows test images and their reconstructions after epoch {report_epoch}: look for what "
        "survives the latent code, digit and colour, and what does not, edges and texture.",
        group="Reconstructions during training",
        draw=draw,
        saw=after_epoch(
            "vae",
            report_epoch,
            "After epoch <E> of <N> the reconstruction term of the loss is {plots/vae/training:epoch=<E>.nll} nats an "
            "image, after the last {plots/vae/training:epoch=<N>.nll}. Test images are then rebuilt with an error of "
            "{vae:reconstruction_mse}, and the judge reads the right class in {vae:reconstruction_same_class}.",
        ),
        shows_data=True,
    )


def class_latents(number: int, position: int) -> Figure:
    """The latents of the class in a position: the mean of each over the class, with its spread."""

    def draw(path: Path, results: Results) -> None:
        table = results.table(LATENTS, "class", "latent", "mean", "std", "share")
        classes = list(dict.fromkeys(table["class"]))
        if position >= len(classes):
            raise UnmeasuredError(f"the images have {len(classes) or 'no two'} classes")
        rows = table[table["class"] == classes[position]].sort_values("latent")
        strongest = rows.nlargest(TOP, "share")
        named = ", ".join(f"z{row.latent} ({row.share:.0%})" for row in strongest.itertuples())
        bars.values_with_spread(
            path,
            rows["latent"],
            rows["mean"],
            rows["std"],
            set(strongest["latent"]),
            ("latent variable", "mean of μ (±1 std)"),
            f"Latent variables of class {classes[position]}",
            f"Orange: the {TOP} latents that set this class apart most, with their share of the class mean's distance "
            f"from the overall mean: {named}; together {strongest['share'].sum():.0%}.",
        )

    def saw(facts: Facts) -> str:
        rows = facts.content(LATENTS.removesuffix(".csv"))
        classes = list(dict.fromkeys(row["class"] for row in rows))
        if position >= len(classes):
            raise UnmeasuredError(f"the images have {len(classes) or 'no two'} classes")
        of_class = [place for place, row in enumerate(rows) if row["class"] == classes[position]]
        strongest = sorted(of_class, key=lambda place: -rows[place]["share"])[:TOP]
        told = [f"z{rows[place]['latent']} ({{plots/vae/latents!p:{place}.share}})" for place in strongest]
        told[0] = told[0].replace("})", "} of its distance)")
        listed = " and ".join(", ".join(told).rsplit(", ", 1))
        return (
            f"Class {literal(classes[position])} is set apart most by {listed}; over all classes the three strongest "
            "carry {vae:top_latents_share} on average."
        )

    return Figure(
        number=number,
        slug=f"vae_latents_{position}",
        title=f"Latent variables of class {position}",
        caption=f"The report shows the mean of each latent over the images of class {position} and says that a few "
        "latents carry the class: look for bars that stand out beyond their spread.",
        group="Latent variables, class by class",
        draw=draw,
        saw=saw,
    )


def draw_interpolations(path: Path, results: Results) -> None:
    """Rows of images decoded along straight lines in latent space."""
    images, measured = results.arrays(IMAGES)["interpolations"][:PATHS], results.metrics("vae")
    if not len(images):
        raise measured.missing("interpolation_smoothness")
    evenness = ""
    if "interpolation_smoothness" in measured:
        evenness = (
            " Over all measured pairs the largest step in the judge's features is "
            f"{measured.number('interpolation_smoothness'):.2f} times the mean step (1: even)."
        )
    classes = results.metrics("data").values["generative"]["classes"]
    pairs = "digits of different class" if len(classes) > 1 else "test images"
    sheets.rows(
        path,
        images,
        "VAE interpolations between two test images in latent space",
        f"Each row decodes {images.shape[1]} equal steps between the posterior means of two {pairs}.{evenness}",
    )


def draw_priors(path: Path, results: Results) -> None:
    """Draws of both priors by the same decoder, and test images with their reconstructions."""
    arrays, measured = results.arrays(IMAGES), results.metrics("vae")
    shown = len(arrays["originals"])
    kinds = {
        "N(0, I)": arrays["samples"],
        "fitted prior": arrays["fitted_samples"],
        "reconstructions": arrays["epoch_reconstructions"][-1],
        "test images": arrays["originals"],
    }
    components = int(measured.part("fitted_prior").number("components"))
    sheets.image_sheet(
        path,
        np.concatenate([sheets.filled_up(images[:shown], sheets.COLUMNS) for images in kinds.values()]),
        sheets.COLUMNS,
        "One decoder, two priors",
        "The first two bands differ in nothing but where z comes from. The decoder learned codes of images, which do "
        f"not fill N(0, I); the fitted prior is a mixture of {components} Gaussians fitted to those codes.",
        list(kinds),
    )


def priors_compared(facts: Facts) -> str:
    """How readable samples of either prior are, and what follows where that is plain."""
    normal, fitted = (facts.look_up("vae", key) for key in ("recognisability", "fitted_prior.recognisability"))
    seen = (
        "The judge recognises {vae:recognisability} of samples from N(0, I) and {vae:fitted_prior.recognisability} of "
        "those from the fitted prior, at Fréchet distances of {vae:frechet_distance} and "
        "{vae:fitted_prior.frechet_distance}; their sharpness is {vae:fitted_prior.sharpness_ratio} of real images'."
    )
    if fitted.low <= normal.high:
        return seen
    return f"{seen} The decoder is the same: what made samples of N(0, I) harder to read is the prior."


def draw_traversals(path: Path, results: Results) -> None:
    """Rows of images in which one latent moves and the others stay."""
    arrays = results.arrays(IMAGES)
    images, latents = arrays["traversals"], arrays["traversed"]
    sheets.rows(
        path,
        images,
        "VAE latent traversals around one test image",
        f"Each row moves one latent from -3 to 3 and keeps the others: the {len(images)} latents that vary most.",
        [f"z{latent}" for latent in latents],
    )


WALL_CLOCK = generated.wall_clock(
    number=1,
    study="vae",
    name="VAE",
    caption="The report plots 30 epochs and calls their time steady: look for epochs of equal length.",
)

FINAL_SAMPLES = generated.final_samples(
    first=12,
    study="vae",
    name="VAE",
    caption="The report shows five samples of the trained VAE and finds them blurry: look for a digit, and for how "
    "sure the judge is of it.",
    saw=(
        "The judge is sure of a class in {vae:recognisability} of the finished VAE's samples and in "
        "{vae!v:real_recognisability} of test images.",
        "The finished VAE's samples are {vae:sharpness_ratio} times as sharp as real images.",
        "The finished VAE's samples lie at a Fréchet distance of {vae:frechet_distance} from the test images; "
        "training images lie at {vae!v:frechet_floor}.",
        "The judge reads the right class in {vae:reconstruction_same_class} of the VAE's reconstructions, and is "
        "sure of a class in {vae!v:recognisability} of its samples.",
        "The judge is sure of a class in {vae!v:recognisability} of the VAE's samples and in "
        "{ddpm!v:recognisability} of the DDPM's.",
    ),
)

FIGURES = (
    WALL_CLOCK,
    *generated.samples_during_training(
        first=2,
        study="vae",
        name="VAE",
        epochs=REPORT_EPOCHS,
        caption="The report shows draws from the prior after epoch <R>: compare one place from sheet to sheet and ask "
        "whether a digit can be read there.",
        saw="After epoch <E> of <N> the training loss is {plots/vae/training:epoch=<E>.loss} nats an image; after the "
        "last it is {plots/vae/training:epoch=<N>.loss}, and the judge recognises {vae:recognisability} of samples.",
    ),
    *(reconstructions(number, epoch) for number, epoch in enumerate(REPORT_EPOCHS, start=7)),
    *FINAL_SAMPLES,
    *(class_latents(number, position) for position, number in enumerate(range(17, 17 + CLASSES))),
    Figure(
        number=27,
        slug="vae_interpolations",
        title="VAE interpolations in latent space",
        caption="The report shows three rows between two latent points and finds the change smooth: look for a jump "
        "between neighbours.",
        group="Interpolation",
        draw=draw_interpolations,
        saw="Over all measured pairs the largest step in the judge's features is {vae:interpolation_smoothness} times "
        "the mean step, where 1 is perfectly even.",
    ),
    Figure(
        number=63,
        slug="vae_priors",
        title="The same decoder under two priors",
        caption="Compare the first two bands, which differ in nothing but where z comes from, and both with the third, "
        "the most that this decoder can do.",
        group="Beyond the report",
        draw=draw_priors,
        saw=priors_compared,
    ),
    Figure(
        number=55,
        slug="vae_latent_traversals",
        title="Latent traversals",
        caption="In each row one latent moves and the others stay: look for what it changes in the digit.",
        group="Beyond the report",
        draw=draw_traversals,
        saw="{vae:active_units} latents are in use: their mean differs from one test image to another.",
    ),
)
