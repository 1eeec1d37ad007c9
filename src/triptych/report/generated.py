"""What the judge says of an image, in words."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from triptych.report.drawing import bars, curves, sheets
from triptych.report.formatting import written_place
from triptych.report.reader import Results, UnmeasuredError
from triptych.report.record import Figure
from triptych.report.sentences import Facts

# A judge of images without classes tells by how much one was turned counter-clockwise.
TURNS = ("0°", "90°", "180°", "270°")


@dataclass(frozen=True)
class Reading:
    """What the judge takes an image for.

    Attributes:
        classes: the names of the data's classes; none, or one alone, where the judge learned turns.
        probabilities: of what it chooses among.
    """

    classes: Sequence[str]
    probabilities: np.ndarray

    @property
    def choices(self) -> Sequence[str]:
        """What it chooses among."""
        return self.classes if len(self.classes) > 1 else TURNS

    def sentence(self, where: str = "") -> str:
        """`The judge reads a 7 with a probability of 98%.`; `where` says in what, with a space before it."""
        best = int(self.probabilities.argmax())
        if self.choices is TURNS:
            taken = f"The judge, which learned to tell how an image was turned, finds it turned by {TURNS[best]}"
        else:
            taken = f"The judge reads a {self.classes[best]}"
        return f"{taken}{where} with a probability of {self.probabilities[best]:.0%}."


def wall_clock(number: int, study: str, name: str, caption: str) -> Figure:
    """Time against the epoch; `study` as in file names, `name` as in titles."""

    def draw(path: Path, results: Results) -> None:
        seconds, timing = results.table(f"plots/{study}/timing.csv", "epoch", "seconds"), results.timing(study)
        spread = seconds["seconds"].std() / seconds["seconds"].mean()
        curves.seconds_of_epochs(
            path,
            seconds,
            f"{name}: wall-clock training time",
            f"{written_place(timing.values)}, torch {timing.values['torch']}: "
            f"{timing.number('images_per_second'):,.0f} images/s; epochs spread by {spread:.1%} (std over mean). "
            "A straight line at the right means steady epochs.",
        )

    return Figure(
        number=number,
        slug=f"{study}_wall_clock",
        title=f"{name} wall-clock time against epoch",
        caption=caption,
        group="Time per epoch",
        draw=draw,
        saw=f"An epoch takes {{timing/{study}:seconds_per_epoch}} s on average, {{timing/{study}:images_per_second}} "
        f"images a second; the whole training takes {{timing/{study}!d:seconds_total}}.",
    )


def samples_during_training(
    first: int, study: str, name: str, epochs: Sequence[int], caption: str, saw: str
) -> tuple[Figure, ...]:
    """A sheet of samples after each of the report's epochs.

    Args:
        first: number of the first figure.
        study: its name in file names.
        name: its name in titles.
        epochs: the report's.
        caption: in it <R> stands for the report's epoch.
        saw: in it <E> and <N> stand for epochs as in `after_epoch`.
    """

    def record(number: int, epoch: int) -> Figure:
        def draw(path: Path, results: Results) -> None:
            arrays = results.arrays(f"samples/{study}/images.npz")
            here, total = kept_epoch(results, study, arrays, epoch)
            sheets.image_sheet(
                path,
                arrays[f"samples_{here}"],
                sheets.COLUMNS,
                f"{name} samples after epoch {here} of {total}",
                "Every such sheet starts from the same 64 draws of noise: compare one place across epochs.",
            )

        return Figure(
            number=number,
            slug=f"{study}_samples_{epoch}",
            title=f"{name} samples, the report's epoch {epoch} of {REPORT_TOTAL}",
            caption=caption.replace("<R>", str(epoch)),
            group="Samples during training",
            draw=draw,
            saw=after_epoch(study, epoch, saw),
        )

    return tuple(record(first + place, epoch) for place, epoch in enumerate(epochs))


def final_samples(first: int, study: str, name: str, caption: str, saw: Sequence[str]) -> tuple[Figure, ...]:
    """The first samples of the trained model, a figure each, beside what the judge says; a sentence of `saw` each."""
    count = len(saw)

    def record(place: int, sentence: str) -> Figure:
        def draw(path: Path, results: Results) -> None:
            classes = results.metrics("data").values["generative"]["classes"]
            judged = results.arrays(f"evaluations/{study}/judged.npz")["final_probabilities"]
            if place >= len(judged):
                raise UnmeasuredError(f"this run drew {len(judged)} samples")
            reading = Reading(classes, judged[place])
            bars.image_and_probabilities(
                path,
                results.arrays(f"samples/{study}/images.npz")["samples"][place],
                reading.choices,
                reading.probabilities,
                "judge's probability",
                f"{name} sample {place + 1} of {count} at the end of training",
                f"The first five draws, not chosen. {reading.sentence()}",
            )

        return Figure(
            number=first + place,
            slug=f"{study}_final_sample_{place + 1}",
            title=f"{name} sample {place + 1} of {count}",
            caption=caption,
            group="Samples at the end of training",
            draw=draw,
            saw=sentence,
        )

    return tuple(record(place, sentence) for place, sentence in enumerate(saw))


def kept_epoch(results: Results, study: str, arrays: Mapping[str, np.ndarray], report_epoch: int) -> tuple[int, int]:
    """The epoch whose weights stand for one of the report's, and how many epochs there are."""
    total = int(results.table(f"plots/{study}/timing.csv", "epoch")["epoch"].max())
    kept = sorted(int(name.split("_")[1]) for name in arrays if name.startswith("samples_"))
    return stand_in(report_epoch, kept, total), total


REPORT_TOTAL = 30  # epochs of the report; a shorter run shows those that correspond


def stand_in(report_epoch: int, kept: Iterable[int], total: int) -> int:
    """The kept epoch nearest to the report's epoch, scaled to a run of `total` epochs."""
    return min(kept, key=lambda epoch: abs(epoch - report_epoch * total / REPORT_TOTAL))


def after_epoch(study: str, report_epoch: int, template: str) -> Callable[[Facts], str]:
    """A sentence on the weights kept after an epoch: in the template <E> stands for this run's epoch, <N> for its last.

    Args:
        study: section of params.yaml.
        report_epoch: the report's.
        template: of `studies.sentences`.
    """

    def fill(facts: Facts) -> str:
        epochs = int(facts.param(f"{study}.training.epochs"))
        epoch = stand_in(report_epoch, facts.param(f"{study}.training.snapshot_epochs"), epochs)
        return template.replace("<E>", str(epoch)).replace("<N>", str(epochs))

    return fill
