"""Records of a study: its models, metrics and figures. Every reader of results uses them: page, terminal, stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from triptych.report.reader import Metrics, Results

if TYPE_CHECKING:
    from triptych.report.claims import Claim
    from triptych.report.sentences import Facts

LAST_OF_REPORT = 50  # figures above this number are not the report's


@dataclass(frozen=True)
class Metric:
    """Name, meaning and format of one key of a metrics file."""

    key: str  # as in the file; a key inside a mapping is dotted
    name: str
    meaning: str = ""  # one sentence
    format: str = ".3f"  # see `formatting.written`
    reference: str = ""  # the key of a value to compare with, and the name of that value
    reference_name: str = ""
    headline: bool = False  # shown by `dvc metrics show`
    short: str = ""  # column heading where the terminal compares models; empty for no column
    words: Callable[[Metrics], str] | None = None  # text from the whole file that replaces the number
    tells: tuple[str, ...] = ()  # further keys that `words` includes


@dataclass(frozen=True)
class Figure:
    """A figure: its texts, and the function that draws it."""

    number: int  # the report's, or one above LAST_OF_REPORT
    slug: str  # the end of its file name
    title: str
    caption: str  # a few short sentences that say what is drawn, without results of this run
    group: str  # the heading above it
    draw: Callable[[Path, Results], None]  # writes the PNG; raises UnmeasuredError where the run lacks its numbers
    result: str | Callable[[Facts], str]  # this run in one line: a template of `report.sentences`, or what makes one
    shows_data: bool = False  # shows many images of the dataset, which a licence may forbid to pass on

    @property
    def of_report(self) -> bool:
        """True where the report has this figure."""
        return self.number <= LAST_OF_REPORT

    def path(self, folder: Path) -> Path:
        """Return the path of its picture, `folder/figNN_slug.png`."""
        return folder / f"fig{self.number:02d}_{self.slug}.png"


@dataclass(frozen=True)
class Model:
    """A trained model of a study, and the stages that write its timing and its metrics."""

    name: str  # of its files: `vae`, `ssl/no_predictor`
    title: str
    trained_by: str
    measured_by: str
    settings: str = ""  # in words; empty where the study has one model

    @property
    def metrics(self) -> str:
        """Path of its metrics file."""
        return f"metrics/{self.name}.json"

    @property
    def timing(self) -> str:
        """Path of the timing of its training."""
        return f"metrics/timing/{self.name}.json"


@dataclass(frozen=True)
class Study:
    """A panel of the triptych, or the judge. Metrics, figures and models are in the order in which they are shown."""

    slug: str  # its name in links
    short: str  # its name in the contents
    title: str
    question: str  # the text below the title
    models: Callable[[Mapping], Sequence[Model]]  # from params.yaml
    metrics: tuple[Metric, ...]
    claims: tuple[Claim, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: Mapping[str, str] = field(default_factory=dict)  # further files of numbers, and the stages that write them
    settings: Mapping[str, str] = field(default_factory=dict)  # key and label of the settings that the page shows first
    corrections: tuple[str, ...] = ()  # errors in the report's own wording
    remark: Callable[[Mapping], str] = lambda params: ""  # from params.yaml: how this run differs from the report's

    @property
    def compares(self) -> bool:
        """True where one table compares its models."""
        return any(metric.short for metric in self.metrics)

    def writers(self, params: Mapping) -> dict[str, str]:
        """Return every file of its numbers with the stage that writes it."""
        files = dict(self.tables)
        for model in self.models(params):
            files |= {model.metrics: model.measured_by, model.timing: model.trained_by}
        return files
