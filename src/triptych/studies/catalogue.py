"""The report's figures 1 to 50 and ours beyond them: their numbers, file names, and what each shows."""

from dataclasses import dataclass
from pathlib import Path

VAE_EPOCHS = (1, 10, 15, 20, 25)
DDPM_EPOCHS = (1, 5, 10, 15, 20, 25)
# The report's projector outputs by variant; the widths of a short run stand for them.
REPORT_DIMS = {"simsiam": 2048, "projector_4096": 4096}


@dataclass(frozen=True)
class Figure:
    """One figure of the report.

    Attributes:
        number: the report's number.
        slug: the end of its file name.
        study: vae, ddpm or simsiam.
        title: what it is, in a few words.
        caption: what the report shows there and what to look for, in one sentence; no results.
        group: the heading that it stands under.
    """

    number: int
    slug: str
    study: str
    title: str
    caption: str
    group: str


def figure(number: int) -> Figure:
    """The figure with the report's number.

    Raises:
        KeyError: the report has no such figure.
    """
    return _BY_NUMBER[number]


def figure_path(folder: Path, number: int) -> Path:
    """Where a figure's picture lies: `folder/figNN_slug.png`."""
    return folder / f"fig{number:02d}_{figure(number).slug}.png"


def _vae() -> list[Figure]:
    time, during, rebuilt = "Time per epoch", "Samples during training", "Reconstructions during training"
    final, latents, between = "Samples at the end of training", "Latent variables, class by class", "Interpolation"
    return [
        Figure(
            1,
            "vae_wall_clock",
            "vae",
            "VAE wall-clock time against epoch",
            "The report plots 30 epochs and calls their time steady: look for epochs of equal length.",
            time,
        ),
        *(
            Figure(
                2 + position,
                f"vae_samples_{epoch}",
                "vae",
                f"VAE samples, the report's epoch {epoch} of 30",
                f"The report shows draws from the prior after epoch {epoch}: compare one place from sheet to sheet and "
                "ask whether a digit can be read there.",
                during,
            )
            for position, epoch in enumerate(VAE_EPOCHS)
        ),
        *(
            Figure(
                7 + position,
                f"vae_reconstructions_{epoch}",
                "vae",
                f"VAE reconstructions, the report's epoch {epoch} of 30",
                f"The report shows test images and their reconstructions after epoch {epoch}: look for what survives "
                "the latent code, digit and colour, and what does not, edges and texture.",
                rebuilt,
            )
            for position, epoch in enumerate(VAE_EPOCHS)
        ),
        *(
            Figure(
                12 + position,
                f"vae_final_sample_{position + 1}",
                "vae",
                f"VAE sample {position + 1} of 5",
                "The report shows five samples of the trained VAE and finds them blurry: look for a digit, and for how "
                "sure the judge is of it.",
                final,
            )
            for position in range(5)
        ),
        *(
            Figure(
                17 + digit,
                f"vae_latents_{digit}",
                "vae",
                f"Latent variables of class {digit}",
                f"The report shows the mean of each latent over the images of class {digit} and says that a few "
                "latents carry the class: look for bars that stand out beyond their spread.",
                latents,
            )
            for digit in range(10)
        ),
        Figure(
            27,
            "vae_interpolations",
            "vae",
            "VAE interpolations in latent space",
            "The report shows three rows between two latent points and finds the change smooth: look for a jump "
            "between neighbours.",
            between,
        ),
    ]


def _ddpm() -> list[Figure]:
    time, during, restored = "Time per epoch", "Samples during training", "Noised and restored"
    final = "Samples at the end of training"
    figures = [
        Figure(
            28,
            "ddpm_wall_clock",
            "ddpm",
            "DDPM wall-clock time against epoch",
            "The report plots 30 epochs: look for epochs of equal length, and compare with figure 1.",
            time,
        ),
        *(
            Figure(
                29 + position,
                f"ddpm_samples_{epoch}",
                "ddpm",
                f"DDPM samples, the report's epoch {epoch} of 30",
                f"The report shows samples after epoch {epoch}, here all from the same starting noise: follow one "
                "place from sheet to sheet as its digit forms.",
                during,
            )
            for position, epoch in enumerate(DDPM_EPOCHS)
        ),
    ]
    for number, step in ((35, 30), (37, 120)):
        outcome = "comes back" if step == 30 else "does not come back"
        figures += [
            Figure(
                number,
                f"ddpm_noised_{step}",
                "ddpm",
                f"A test image noised to t = {step}",
                f"The report noises one test image forward to t = {step}: look at how much of the digit is left.",
                restored,
            ),
            Figure(
                number + 1,
                f"ddpm_restored_{step}",
                "ddpm",
                f"The same image restored from t = {step}",
                f"The report runs the reverse process from t = {step} and finds that the original {outcome}: compare "
                "the digit and its details with the original.",
                restored,
            ),
        ]
    figures += [
        Figure(
            39 + position,
            f"ddpm_final_sample_{position + 1}",
            "ddpm",
            f"DDPM sample {position + 1} of 5",
            "The report shows five samples of the trained DDPM and finds them better than the VAE's: compare with "
            "figures 12 to 16.",
            final,
        )
        for position in range(5)
    ]
    return figures


def _simsiam() -> list[Figure]:
    stop, predictor, width = "With and without stop-gradient", "With and without the predictor", "Projector output"
    return [
        Figure(
            44,
            "simsiam_stop_gradient_knn",
            "simsiam",
            "kNN accuracy with and without stop-gradient",
            "The report's accuracy collapses without stop-gradient: compare both curves with that of an untrained "
            "encoder, not only with chance.",
            stop,
        ),
        Figure(
            45,
            "simsiam_stop_gradient_loss",
            "simsiam",
            "Training loss with and without stop-gradient",
            "The report's loss reaches its floor without stop-gradient: a loss of −1 from the first epochs on is "
            "collapse, not success.",
            stop,
        ),
        Figure(
            46,
            "simsiam_predictor_knn",
            "simsiam",
            "kNN accuracy with and without the predictor",
            "The report finds SimSiam much worse with the predictor replaced by the identity: look at the distance "
            "between the curves.",
            predictor,
        ),
        Figure(
            47,
            "simsiam_predictor_loss",
            "simsiam",
            "Training loss with and without the predictor",
            "The report shows the loss of the same two runs: look for the one that falls to −1.",
            predictor,
        ),
        Figure(
            48,
            "simsiam_projector_knn",
            "simsiam",
            "kNN accuracy, projector output 2048 and 4096",
            "The report finds that the wider output helps: ask whether the curves differ by more than their spread, at "
            "the widths that the picture names.",
            width,
        ),
        Figure(
            49,
            "simsiam_projector_loss",
            "simsiam",
            "Training loss, projector output 2048 and 4096",
            "The report shows the loss of the same two runs: look at whether a lower loss goes with a better accuracy.",
            width,
        ),
        Figure(
            50,
            "simsiam_views",
            "simsiam",
            "The views that SimSiam saw",
            "The report prints its augmentation code here: one image under the augmentations of training, and what "
            "stays the same in all of its views.",
            "Augmentation",
        ),
    ]


def _beyond() -> list[Figure]:
    group = "Beyond the report"
    return [
        Figure(
            51,
            "simsiam_collapse",
            "simsiam",
            "Collapse, epoch by epoch",
            "The report judges collapse by accuracy and loss: look at the spread and the rank of the embeddings, which "
            "tell a collapse from a success of equal loss.",
            group,
        ),
        Figure(
            52,
            "ddpm_restoration_rate",
            "ddpm",
            "Restoration against t",
            "The report shows t = 30 and t = 120 only: look at where on the whole curve the two lie.",
            group,
        ),
        Figure(
            53,
            "simsiam_methods",
            "simsiam",
            "All methods compared",
            "Every method at its last epoch beside an untrained encoder: look for intervals that do not overlap, and "
            "for what lies below the untrained one.",
            group,
        ),
        Figure(
            54,
            "ddpm_sampling_cost",
            "ddpm",
            "Sampling cost against quality",
            "The report draws every sample in T steps: look for the number of steps beyond which nothing is gained.",
            group,
        ),
        Figure(
            55,
            "vae_latent_traversals",
            "vae",
            "Latent traversals",
            "One latent moves at a time and the others stay: look for what each changes in the digit.",
            group,
        ),
        Figure(
            56,
            "ddpm_restorations",
            "ddpm",
            "Restorations of many digits from many t",
            "The report shows one digit: look down each column for the t at which the digit becomes another.",
            group,
        ),
        Figure(
            57,
            "simsiam_cost",
            "simsiam",
            "Cost against quality of the methods",
            "The report counts epochs, which do not cost the same in every method: look for the accuracy that a given "
            "time buys.",
            group,
        ),
    ]


REPORT_FIGURES: tuple[Figure, ...] = (*_vae(), *_ddpm(), *_simsiam())
FIGURES: tuple[Figure, ...] = (*REPORT_FIGURES, *_beyond())
_BY_NUMBER = {entry.number: entry for entry in FIGURES}
