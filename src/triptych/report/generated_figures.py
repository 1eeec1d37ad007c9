"""Figures of generated images, which the studies of both generative models share."""

from collections.abc import Callable, Sequence
from pathlib import Path

from triptych.report import drawing
from triptych.report.reader import Results, UnmeasuredError, value_at
from triptych.report.record import Figure
from triptych.report.sentences import Facts

BEYOND = "Beyond the report"
REPORT_EPOCHS = 30  # length of the report's training; a shorter run shows the corresponding epochs
# The reference classifier of images without classes predicts the angle of a counter-clockwise rotation.
ROTATIONS = ("0°", "90°", "180°", "270°")
# Numbers of the first figures that other captions refer to.
VAE_WALL_CLOCK, VAE_FINAL_SAMPLES = 1, 12


def nearest_epoch(results: Results, study: str, report_epoch: int) -> tuple[int, int]:
    """Return the epoch of this run whose weights were kept and that is nearest to the report's, and the last epoch."""
    training = value_at(results.params, f"{study}.training")
    if not training:
        raise UnmeasuredError(f"params.yaml has no {study}.training")
    last, kept = training["epochs"], training["snapshot_epochs"]
    return min(kept, key=lambda epoch: abs(epoch - report_epoch * last / REPORT_EPOCHS)), last


def after_epoch(study: str, report_epoch: int, sentence: Callable[[int, int], str]) -> Callable[[Facts], str]:
    """Make the result line of a figure from this run's epoch and its last epoch."""
    return lambda facts: sentence(*nearest_epoch(facts.results, study, report_epoch))


def wall_clock(number: int, study: str, name: str, caption: str) -> Figure:
    """Return the figure of training time per epoch; study: as in file names, name: as in titles."""

    def draw(path: Path, results: Results) -> None:
        table = results.table(f"plots/{study}/timing.csv", "epoch", "seconds")
        seconds = table.groupby("epoch")["seconds"].mean()
        figure, [[per_epoch, total]] = drawing.subplots(1, 2)
        per_epoch.plot(seconds, "o-")
        per_epoch.axhline(seconds.median(), color=drawing.MUTED, linestyle="--", label="median")
        per_epoch.set(xlabel="epoch", ylabel="seconds per epoch", ylim=(0, 1.25 * seconds.max()))
        per_epoch.legend()
        total.plot(seconds.cumsum() / 60, "o-")
        total.set(xlabel="epoch", ylabel="minutes since the start", ylim=(0, None))
        for axes in (per_epoch, total):
            axes.xaxis.get_major_locator().set_params(integer=True)
        drawing.save(figure, path)

    return Figure(
        number=number,
        slug=f"{study}_wall_clock",
        title=f"{name}: wall-clock time of training",
        caption=caption,
        group="Time per epoch",
        draw=draw,
        result=f"An epoch takes {{timing/{study}:seconds_per_epoch}} s on average, "
        f"{{timing/{study}:images_per_second}} images per second; training takes {{timing/{study}!d:seconds_total}}.",
    )


def samples_during_training(
    first: int, study: str, name: str, epochs: Sequence[int], loss: str, unit: str = ""
) -> tuple[Figure, ...]:
    """Return a sheet of samples for each of the report's epochs, numbered from `first`; loss: its name, with a unit."""

    def figure(number: int, epoch: int) -> Figure:
        def draw(path: Path, results: Results) -> None:
            here, _ = nearest_epoch(results, study, epoch)
            arrays = results.arrays(f"samples/{study}/images.npz")
            [samples] = arrays["epoch_samples"][arrays["epochs"] == here]
            drawing.image_sheet(path, [("", samples)])

        return Figure(
            number=number,
            slug=f"{study}_samples_{epoch}",
            title=f"{name} samples, the report's epoch {epoch} of {REPORT_EPOCHS}",
            caption="The same 64 draws of noise in every sheet, so that each position can be followed over epochs.",
            group="Samples during training",
            draw=draw,
            result=after_epoch(
                study,
                epoch,
                lambda here, last: (
                    f"Epoch {here} of {last}: {loss} {{plots/{study}/training:epoch={here}.loss}}{unit}, after the "
                    f"last epoch {{plots/{study}/training:epoch={last}.loss}}{unit}."
                ),
            ),
        )

    return tuple(figure(first + index, epoch) for index, epoch in enumerate(epochs))


def final_samples(first: int, study: str, name: str, caption: str, results: Sequence[str]) -> tuple[Figure, ...]:
    """Return figures of the first samples of the trained model, one for each result line, numbered from `first`."""
    count = len(results)

    def figure(index: int, result: str) -> Figure:
        def draw(path: Path, results: Results) -> None:
            classes = results.metrics("data").values["generative"]["classes"]
            classes = classes if len(classes) > 1 else ROTATIONS
            judged = results.arrays(f"evaluations/{study}/judged.npz")["final_probabilities"]
            if index >= len(judged):
                raise UnmeasuredError(f"too few samples for this figure: {len(judged)}")
            sample = results.arrays(f"samples/{study}/images.npz")["samples"][index]
            page, [[picture, bars]] = drawing.subplots(1, 2, height=2.8)
            picture.imshow(drawing.grid(sample[None], 1), interpolation="nearest")
            picture.set_axis_off()
            colours = [drawing.PALE] * len(classes)
            colours[judged[index].argmax()] = drawing.PALETTE[1]
            bars.bar(classes, judged[index], color=colours)
            bars.set(xlabel="class", ylabel="probability", ylim=(0, 1))
            bars.grid(axis="x", visible=False)
            drawing.save(page, path)

        return Figure(
            number=first + index,
            slug=f"{study}_final_sample_{index + 1}",
            title=f"{name} sample {index + 1} of {count}",
            caption=caption,
            group="Samples at the end of training",
            draw=draw,
            result=result,
        )

    return tuple(figure(index, result) for index, result in enumerate(results))
