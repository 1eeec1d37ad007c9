"""The variants of a run as figures show them: their numbers, their curves over epochs, and how they are called."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import pandas as pd

from triptych.report.drawing.curves import Curve
from triptych.report.reader import Metrics, Results, UnmeasuredError
from triptych.ssl.words.variants import REPORT_DIMS, WIDE, Settings, colours, dashes, title, variants


@dataclass(frozen=True)
class Run:
    """One variant.

    Attributes:
        name: its key in params.yaml.
        settings: its entry there.
        metrics: what was measured.
        curve: what was recorded in training and measured over its epochs.
    """

    name: str
    settings: Settings
    metrics: Metrics
    curve: Curve

    @property
    def label(self) -> str:
        """What figures call it."""
        return self.curve.label

    def called(self, label: str) -> "Run":
        """The same under another label."""
        return replace(self, curve=replace(self.curve, label=label))

    def painted(self, colour: str) -> "Run":
        """The same in a colour of its own, its line solid."""
        return replace(self, curve=replace(self.curve, colour=colour, dash="-"))

    @property
    def collapsed(self) -> bool:
        """Whether its embeddings are known to have collapsed."""
        return bool(self.metrics.value("collapsed"))


def load(results: Results, names: Iterable[str] = ()) -> list[Run]:
    """The runs of the named variants, of all where none is named, in their order.

    Raises:
        UnmeasuredError: params.yaml has no such variant.
    """
    trained = variants(results.params)
    palette, lines = colours(trained), dashes(trained)
    missing = [name for name in names if name not in trained]
    if missing:
        raise UnmeasuredError(f"ssl.variants in params.yaml has no {missing[0]}")
    return [
        Run(
            name,
            trained[name],
            results.metrics(f"ssl/{name}"),
            Curve(name, label(name, trained[name].dim), palette[name], history(results, name), lines[name]),
        )
        for name in names or trained
    ]


def history(results: Results, name: str) -> pd.DataFrame:
    """Every epoch of every seed: what training recorded, and where it was measured, the course of the encoder."""
    training = results.table(f"plots/ssl/{name}_training.csv", "epoch", "seed", "loss", "embedding_std")
    course = results.table(f"plots/ssl/{name}_course.csv", "epoch", "seed")
    return training.merge(course, how="left", on=["epoch", "variant", "seed"])


def label(name: str, dim: int | None) -> str:
    """What figures call a variant; the wide projector goes by its true width."""
    if name == WIDE:
        return f"projector {dim}" + (f" (for {REPORT_DIMS[WIDE]})" if dim != REPORT_DIMS[WIDE] else "")
    return title(name)
