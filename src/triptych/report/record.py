"""Records that describe each study: its models, metrics, figures and claims.

The file metrics.yaml contains the names, meanings and formats of all numbers. The file study.yaml in the package of a
study contains the texts of the study.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from triptych.core.schema import read_yaml
from triptych.report.claims import Claim, read_claims
from triptych.report.reader import Metrics, Results

if TYPE_CHECKING:
    from triptych.report.sentences import Facts

# Figures 1 to 49 are the report's. Figure 50 shows its augmentations. Later ones are additions.
LAST_OF_REPORT = 50


@dataclass(frozen=True)
class Metric:
    """The name, meaning and format of the number at one key of a metrics file."""

    key: str  # dotted inside a mapping: `guided.weight`
    name: str
    meaning: str = ""  # one sentence
    format: str = ".3f"  # see `formatting.written`
    reference: str = ""  # key of a value to compare with
    reference_name: str = ""
    headline: bool = False  # shown by `dvc metrics show`
    short: str = ""  # column heading where the terminal compares models; no column if empty
    words: Callable[[Metrics], str] | None = None  # returns a text that replaces the number
    tells: tuple[str, ...] = ()  # other keys whose values `words` includes


@dataclass(frozen=True)
class Figure:
    """A figure of the page: its number, texts and drawing function."""

    number: int  # see LAST_OF_REPORT
    slug: str  # last part of the file name
    title: str
    caption: str  # a few short sentences about what is drawn, without results of this run
    draw: Callable[[Path, Results], None]  # writes the PNG; raises UnmeasuredError if the run lacks its numbers
    result: str | Callable[[Facts], str]  # one line about this run: a template, see `report.sentences`
    group: str = "Beyond the report"  # heading above the figure
    shows_data: bool = False  # shows many images of the dataset, which its licence may forbid to distribute

    @property
    def of_report(self) -> bool:
        """Return True if the figure belongs to the report. The figures that this project adds have higher numbers."""
        return self.number <= LAST_OF_REPORT

    def path(self, folder: Path) -> Path:
        """Return the path of the PNG file: `<folder>/fig<number>_<slug>.png`."""
        return folder / f"fig{self.number:02d}_{self.slug}.png"


@dataclass(frozen=True)
class Model:
    """A trained model of a study, and the stages that train and measure it."""

    name: str  # in file names: `vae`, `ssl/no_predictor`
    title: str
    trained_by: str  # stage
    measured_by: str  # stage
    settings: str = ""  # in words; empty if the study has one model

    @property
    def metrics(self) -> str:
        """The path of the model's metrics file."""
        return f"metrics/{self.name}.json"

    @property
    def timing(self) -> str:
        """The path of the file with the model's training time."""
        return f"metrics/timing/{self.name}.json"


@dataclass(frozen=True)
class Study:
    """A study of the report, or the judge (the classifier that rates images). Sequences are in display order."""

    slug: str  # in links
    short: str  # title in the contents
    title: str
    question: str  # text below the title
    metrics: tuple[Metric, ...]
    models: Callable[[Mapping], Sequence[Model]]  # the argument is the content of params.yaml
    remark: Callable[[Mapping], str]  # differences between this run and the report's; the argument is params.yaml
    claims: tuple[Claim, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: Mapping[str, str] = field(default_factory=dict)  # further files of numbers, and the stages that write them
    settings: Mapping[str, str] = field(default_factory=dict)  # key and label of the settings that the page shows first
    corrections: Sequence[str] = ()  # errors in the report's wording

    @property
    def compares(self) -> bool:
        """Return True if the page compares the models of this study in one table."""
        return any(metric.short for metric in self.metrics)

    def writers(self, params: Mapping) -> dict[str, str]:
        """Map the path of each result file to the stage that writes it. `params` is the content of params.yaml."""
        files = dict(self.tables)
        for model in self.models(params):
            files |= {model.metrics: model.measured_by, model.timing: model.trained_by}
        return files


def read_study(folder: Path, *functions: Callable, **fields: object) -> Study:
    """Read a study from study.yaml in `folder`, and its claims from claims.yaml if that file exists.

    `functions` are the functions that claims.yaml can call. `fields` sets the fields that study.yaml does not contain.
    """
    texts = read_yaml(folder / "study.yaml")
    models, remark = [Model(**model) for model in texts.pop("models", [])], texts.pop("remark", "")
    metrics = tuple(metric for section in texts.pop("metrics") for metric in SECTIONS[section])
    claims = folder / "claims.yaml"
    fields = {"models": lambda params: models, "remark": lambda params: remark} | fields
    return Study(**texts, metrics=metrics, claims=read_claims(claims, *functions) if claims.exists() else (), **fields)


def collapse_in_words(metrics: Metrics) -> str:
    """Return `no` if embeddings did not collapse, or else the type and first epoch, such as `complete from epoch 2`."""
    if not metrics.values["collapsed"]:
        return "no"
    kind, since = metrics.value("collapse_kind"), metrics.value("collapsed_since_epoch")
    return (kind or "yes") + ("" if since is None else f" from epoch {since}")


def _metric(key: str, entry: dict) -> Metric:
    reference, reference_name = entry.get("reference", ("", ""))
    more = {"words": collapse_in_words, "tells": ("collapsed_since_epoch",)} if key == "collapsed" else {}
    return Metric(key, **entry | {"reference": reference, "reference_name": reference_name} | more)


SECTIONS: dict[str, tuple[Metric, ...]] = {
    section: tuple(_metric(key, entry) for key, entry in entries.items())
    for section, entries in read_yaml(Path(__file__).with_name("metrics.yaml")).items()
}
# Metrics that are measured again on a second set of samples from the same weights: prefix of the keys, and name.
COMPARED = ("frechet_distance", "recognisability", "sharpness_ratio", "precision", "recall")
for _prefix, _name in {"fitted_prior": "fitted prior", "guided": "guided"}.items():
    SECTIONS[_prefix] = tuple(
        Metric(f"{_prefix}.{metric.key}", f"{metric.name}, {_name}", metric.meaning, metric.format)
        for metric in SECTIONS["samples"]
        if metric.key in COMPARED
    )

# Metrics by key. A reference without an entry of its own has the format of the number that is compared with it.
_ALL = [metric for section in SECTIONS.values() for metric in section]
METRICS: dict[str, Metric] = {
    metric.reference: Metric(metric.reference, f"{metric.name}, {metric.reference_name}", format=metric.format)
    for metric in _ALL
    if metric.reference
} | {metric.key: metric for metric in _ALL}
