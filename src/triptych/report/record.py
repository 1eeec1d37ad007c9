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
    """Name, meaning and format of one key of a metrics file.

    Attributes:
        key: as in the file; a key inside a mapping is dotted.
        name: a few words.
        meaning: one sentence.
        format: see `formatting.written`.
        reference: the key whose value this one is compared with; empty for none.
        reference_name: name of that value.
        headline: shown by `dvc metrics show`.
        short: column heading where the terminal compares models; empty for no column.
        words: text from the whole file that replaces the number.
        tells: further keys that `words` includes.
    """

    key: str
    name: str
    meaning: str = ""
    format: str = ".3f"
    reference: str = ""
    reference_name: str = ""
    headline: bool = False
    short: str = ""
    words: Callable[[Metrics], str] | None = None
    tells: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A figure: its texts, and the function that draws it.

    Attributes:
        number: the report's number, or one above LAST_OF_REPORT.
        slug: the end of its file name.
        title: a few words that name what it shows.
        caption: a few short sentences that say what is drawn, without results of this run.
        group: the heading above it.
        draw: writes the PNG; raises UnmeasuredError where the run lacks what the figure shows.
        result: the numbers of this run in one line: a template of `report.sentences`, or a function that makes one.
        shows_data: whether it shows many images of the dataset, which a licence may forbid to pass on.
    """

    number: int
    slug: str
    title: str
    caption: str
    group: str
    draw: Callable[[Path, Results], None]
    result: str | Callable[[Facts], str]
    shows_data: bool = False

    @property
    def of_report(self) -> bool:
        """Whether the report has this figure."""
        return self.number <= LAST_OF_REPORT

    def path(self, folder: Path) -> Path:
        """Return the path of its picture, `folder/figNN_slug.png`."""
        return folder / f"fig{self.number:02d}_{self.slug}.png"


@dataclass(frozen=True)
class Model:
    """A trained model of a study.

    Attributes:
        name: short name of its files: `vae`, `ssl/no_predictor`.
        title: its name in headings.
        trained_by: the stage that writes its timing.
        measured_by: the stage that writes its metrics.
        settings: its settings in words; empty where the study has one model.
    """

    name: str
    title: str
    trained_by: str
    measured_by: str
    settings: str = ""

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
    """A panel of the triptych, or the judge.

    Attributes:
        slug: its name in links.
        short: its name in the contents.
        title: the heading.
        question: the text below the heading.
        models: from params.yaml, its models in the order in which they are shown.
        metrics: its numbers in the order in which they are shown.
        claims: statements of the report about it.
        figures: its figures in the order in which they are shown.
        tables: further files whose numbers sentences quote, each with the stage that writes it.
        settings: key and label of the settings that the page shows first.
        corrections: errors in the report's own wording.
        remark: from params.yaml, a sentence on how this run differs from the report's; may be empty.
    """

    slug: str
    short: str
    title: str
    question: str
    models: Callable[[Mapping], Sequence[Model]]
    metrics: tuple[Metric, ...]
    claims: tuple[Claim, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    corrections: tuple[str, ...] = ()
    remark: Callable[[Mapping], str] = lambda params: ""

    @property
    def compares(self) -> bool:
        """Whether one table compares its models."""
        return any(metric.short for metric in self.metrics)

    def writers(self, params: Mapping) -> dict[str, str]:
        """Return every file of its numbers with the stage that writes it."""
        files = dict(self.tables)
        for model in self.models(params):
            files |= {model.metrics: model.measured_by, model.timing: model.trained_by}
        return files
