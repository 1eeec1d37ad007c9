"""Figures of training time and generated images, for both the VAE and the DDPM."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from triptych.report import drawing
from triptych.report.reader import Results, UnmeasuredError, value_at
from triptych.report.record import Figure
from triptych.report.sentences import Facts

NAMES = {"vae": "VAE", "ddpm": "DDPM"}
REPORT_EPOCHS = 30  # length of the report's training; a shorter run shows the corresponding epochs
# The reference classifier of images without classes predicts the angle of a counter-clockwise rotation.
ROTATIONS = ("0°", "90°", "180°", "270°")
# Numbers of figures that captions of the DDPM mention.
VAE_WALL_CLOCK, VAE_FINAL_SAMPLES = 1, 12


def images_path(study: str) -> str:
    """Return the path of the .npz file with the generated images of a study. `study` is `vae` or `ddpm`."""
    return f"samples/{study}/images.npz"


def wall_clock(number: int, study: str, remark: str) -> Figure:
    """Return a figure of the wall-clock time per epoch. `study` is `vae` or `ddpm`. The caption ends with `remark`."""

    def draw(path: Path, results: Results) -> None:
        table = results.table(f"plots/{study}/timing.csv", "epoch", "seconds")
        seconds = table.groupby("epoch")["seconds"].mean()
        with drawing.chart(path, 1, 2) as [[per_epoch, total]]:
            per_epoch.plot(seconds, "o-")
            per_epoch.axhline(seconds.median(), color=drawing.MUTED, linestyle="--", label="median")
            per_epoch.set(xlabel="epoch", ylabel="seconds per epoch", ylim=(0, 1.25 * seconds.max()))
            per_epoch.legend()
            total.plot(seconds.cumsum() / 60, "o-")
            total.set(xlabel="epoch", ylabel="minutes since the start", ylim=(0, None))
            for axes in (per_epoch, total):
                axes.xaxis.get_major_locator().set_params(integer=True)

    return Figure(
        number=number,
        slug=f"{study}_wall_clock",
        title=f"{NAMES[study]}: wall-clock time of training",
        caption=f"Time of each epoch, and time since the start. {remark}",
        group="Time per epoch",
        draw=draw,
        result=f"An epoch takes {{timing/{study}:seconds_per_epoch}} s on average, "
        f"{{timing/{study}:images_per_second}} images per second; training takes {{timing/{study}!d:seconds_total}}.",
    )


def samples_after_epoch(number: int, study: str, report_epoch: int, unit: str = "") -> Figure:
    """Return a figure of samples with the training loss in `unit` below it. Arguments: see `images_after_epoch`."""
    return images_after_epoch(
        number,
        study,
        report_epoch,
        content="samples",
        caption="The same 64 draws of noise in every sheet, so that each position can be followed over epochs.",
        bands=lambda arrays, rows: [("", images) for images in arrays["epoch_samples"][rows]],
        loss="training loss",
        key="loss",
        unit=unit,
    )


def images_after_epoch(
    number: int,
    study: str,
    report_epoch: int,
    content: str,
    caption: str,
    bands: Callable[[Mapping[str, np.ndarray], np.ndarray], Sequence[tuple[str, np.ndarray]]],
    loss: str,
    key: str,
    unit: str,
    shows_data: bool = False,
) -> Figure:
    """Return a figure of images from the saved epoch that best matches epoch `report_epoch` of the original report.

    `study` is `vae` or `ddpm`, and `content` is `samples` or `reconstructions`. `bands(arrays, mask)` returns (name,
    images) pairs; the boolean mask selects the saved epoch. The text below the figure states the loss: `key` is its
    column in the training log, `loss` its name, and `unit` its unit. Set `shows_data` for images of the dataset.
    """

    def epochs(results: Results) -> tuple[int, int]:
        training = value_at(results.params, f"{study}.training")
        if not training:
            raise UnmeasuredError(f"params.yaml has no {study}.training")
        last, saved = training["epochs"], training["snapshot_epochs"]
        return min(saved, key=lambda epoch: abs(epoch - report_epoch * last / REPORT_EPOCHS)), last

    def draw(path: Path, results: Results) -> None:
        arrays = results.arrays(images_path(study))
        drawing.image_sheet(path, bands(arrays, arrays["epochs"] == epochs(results)[0]))

    def result(facts: Facts) -> str:
        epoch, last = epochs(facts.results)
        here, end = (f"{{plots/{study}/training:epoch={one}.{key}}}{unit}" for one in (epoch, last))
        return f"Epoch {epoch} of {last}: {loss} {here}, after the last epoch {end}."

    return Figure(
        number=number,
        slug=f"{study}_{content}_{report_epoch}",
        title=f"{NAMES[study]} {content}, the report's epoch {report_epoch} of {REPORT_EPOCHS}",
        caption=caption,
        group=f"{content.capitalize()} during training",
        draw=draw,
        result=result,
        shows_data=shows_data,
    )


def final_samples(first: int, study: str, remark: str, result_lines: Sequence[str]) -> tuple[Figure, ...]:
    """Return one figure per text in `result_lines`. Each figure shows a generated image and its class probabilities.

    A reference classifier predicts the probabilities. The text appears below the figure. Figure numbers start at
    `first`. `study` is `vae` or `ddpm`. Each caption ends with the text `remark`.
    """

    def figure(index: int, result: str) -> Figure:
        def draw(path: Path, results: Results) -> None:
            classes = results.metrics("data").values["generative"]["classes"]
            classes = classes if len(classes) > 1 else ROTATIONS
            judged = results.arrays(f"evaluations/{study}/judged.npz")["final_probabilities"]
            if index >= len(judged):
                raise UnmeasuredError(
                    f"this figure needs at least {index + 1} samples, but the run drew only {len(judged)}"
                )
            sample = results.arrays(images_path(study))["samples"][index]
            with drawing.chart(path, 1, 2, height=2.8) as [[picture, bars]]:
                picture.imshow(drawing.grid(sample[None], 1), interpolation="nearest")
                picture.set_axis_off()
                colours = [drawing.PALE] * len(classes)
                colours[judged[index].argmax()] = drawing.PALETTE[1]
                bars.bar(classes, judged[index], color=colours)
                bars.set(xlabel="class", ylabel="probability", ylim=(0, 1))
                bars.grid(axis="x", visible=False)

        return Figure(
            number=first + index,
            slug=f"{study}_final_sample_{index + 1}",
            title=f"{NAMES[study]} sample {index + 1} of {len(result_lines)}",
            caption="One of the first five samples, not selected, and the probability that the judge gives each class. "
            f"{remark}",
            group="Samples at the end of training",
            draw=draw,
            result=result,
        )

    return tuple(figure(index, result) for index, result in enumerate(result_lines))
