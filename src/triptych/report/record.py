"""What a study is made of: the words of its numbers, its figures and the claims of the report that it decides.

Everything that shows results goes through these records: page, terminal, stages and the tests of the README.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from triptych.report.reader import Metrics, Results, UnmeasuredError

if TYPE_CHECKING:
    from triptych.report.evidence import Evidence
    from triptych.report.params import ClaimsParams
    from triptych.report.ruling import Ruling
    from triptych.report.sentences import Facts

LAST_OF_REPORT = 50  # figures above this number are not the report's


@dataclass(frozen=True)
class Metric:
    """What a key of a metrics file means, and how its number is written.

    Attributes:
        key: as in the file; one inside a mapping is dotted.
        name: a few words for people.
        meaning: one sentence.
        format: see `results.formatting.written`.
        reference: the key whose value this one is read against.
        reference_name: what that value is.
        headline: whether it is among the few numbers that `dvc metrics show` prints.
        short: heading of its column where the terminal compares the methods of a study; empty leaves it out.
        words: what is written in place of the number, from the whole file, where the number alone says too little.
        tells: further keys that `words` tells.
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


def _no_rule(evidence: Evidence, limits: ClaimsParams) -> Ruling:
    raise UnmeasuredError("no rule compares its variants yet")


@dataclass(frozen=True)
class Claim:
    """A sentence of the report.

    Attributes:
        id: its short name.
        claim: the claim as one sentence.
        report_says: what the report says or shows.
        statistic: what number decides, in words.
        figures: the figures that show it, by their slugs; `*` stands for any end.
        format: how the deciding number is written.
        sources: the files that it is decided from, beside those of its variants.
        variants: the entries of ssl.variants that it compares.
        decide: from evidence and thresholds to a ruling; raises UnmeasuredError where a number is missing. Without
            one the claim stays open.
    """

    id: str
    claim: str
    report_says: str
    statistic: str
    figures: tuple[str, ...] = ()
    format: str = "#.3g"
    sources: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    decide: Callable[[Evidence, ClaimsParams], Ruling] = _no_rule


@dataclass(frozen=True)
class Part:
    """One model of a study: what it is called, and where its numbers lie.

    Attributes:
        name: the short name of its files: `vae`, `ssl/no_predictor`.
        title: what a heading calls it.
        trained_by: the stage that writes its timing.
        measured_by: the stage that writes its metrics.
        settings: how it is set up, in words; empty where the study has one model.
    """

    name: str
    title: str
    trained_by: str
    measured_by: str
    settings: str = ""

    @property
    def metrics(self) -> str:
        """The path of its metrics file."""
        return f"metrics/{self.name}.json"

    @property
    def timing(self) -> str:
        """The path of the wall-clock times of its training."""
        return f"metrics/timing/{self.name}.json"


def _no_remark(params: Mapping) -> str:
    return ""


@dataclass(frozen=True)
class Study:
    """A panel of the triptych, or the judge.

    Attributes:
        slug: its name in links.
        short: its name in the contents.
        title: the heading.
        question: what it asks, below the heading.
        parts: its models under the given params.yaml, in the order in which they are shown.
        metrics: the words of its numbers, in the order in which they are shown.
        claims: what the report says of it.
        figures: its figures, in the order in which they are shown.
        tables: files beside the metrics of its parts whose numbers sentences quote, each with the stage that writes it.
        settings: keys of params.yaml that a reader asks for first, each with its name.
        corrections: where the report's own wording is wrong, whatever the numbers.
        remark: a sentence on how this run differs from the report's, or on what its verdicts rest; or nothing.
    """

    slug: str
    short: str
    title: str
    question: str
    parts: Callable[[Mapping], Sequence[Part]]
    metrics: tuple[Metric, ...]
    claims: tuple[Claim, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    corrections: tuple[str, ...] = ()
    remark: Callable[[Mapping], str] = _no_remark

    @property
    def compares(self) -> bool:
        """Whether its models stand side by side in one table."""
        return any(metric.short for metric in self.metrics)

    def writers(self, params: Mapping) -> dict[str, str]:
        """Every file that it is shown from, with the stage that writes it."""
        files = dict(self.tables)
        for part in self.parts(params):
            files |= {part.metrics: part.measured_by, part.timing: part.trained_by}
        return files
