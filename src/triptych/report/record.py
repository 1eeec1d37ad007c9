"""Dataclasses that describe a study: models, metrics, figures and texts.

The file metrics.yaml next to this module defines the names, meanings and formats of all metrics. Each study has a file
study.yaml with its texts.
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
    """Description of one number in a metrics file: key, name, meaning and format."""

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
    """Figure of the HTML page: number, title, caption and drawing function."""

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
        """True if the figure belongs to the original report, and False if this project adds it."""
        return self.number <= LAST_OF_REPORT

    def path(self, folder: Path) -> Path:
        """Return the path of the PNG file in `folder`, such as `<folder>/fig01_vae_wall_clock.png`."""
        return folder / f"fig{self.number:02d}_{self.slug}.png"


@dataclass(frozen=True)
class Model:
    """Trained model of a study, with the names of the DVC stages that train and measure it."""

    name: str  # in file names: `vae`, `ssl/no_predictor`
    title: str
    trained_by: str  # stage
    measured_by: str  # stage
    settings: str = ""  # in words; empty if the study has one model

    @property
    def metrics(self) -> str:
        """Path of the file with the model's metrics, `metrics/<name>.json`."""
        return f"metrics/{self.name}.json"

    @property
    def timing(self) -> str:
        """Path of the file with the model's training time, `metrics/timing/<name>.json`."""
        return f"metrics/timing/{self.name}.json"


@dataclass(frozen=True)
class Study:
    """Study of one or more models: texts, metrics, claims and figures. Sequences are in the order of the HTML page."""

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
        """True if the page has one table that compares all models of the study."""
        return any(metric.short for metric in self.metrics)

    def writers(self, params: Mapping) -> dict[str, str]:
        """Map the path of each result file to the DVC stage that writes it. `params` is the content of params.yaml."""
        files = dict(self.tables)
        for model in self.models(params):
            files |= {model.metrics: model.measured_by, model.timing: model.trained_by}
        return files


def read_study(folder: Path, *functions: Callable, **fields: object) -> Study:
    """Read a study from the file study.yaml in `folder`, and its claims from claims.yaml if this file exists.

    The file claims.yaml can call the given `functions`. `fields` contains further fields of the `Study`.
    """
    texts = read_yaml(folder / "study.yaml")
    models, remark = [Model(**model) for model in texts.pop("models", [])], texts.pop("remark", "")
    metrics = tuple(metric for section in texts.pop("metrics") for metric in SECTIONS[section])
    claims = folder / "claims.yaml"
    fields = {"models": lambda params: models, "remark": lambda params: remark} | fields
    return Study(**texts, metrics=metrics, claims=read_claims(claims, *functions) if claims.exists() else (), **fields)


def collapse_in_words(metrics: Metrics) -> str:
    """Describe the collapse of embeddings in `metrics`, such as `no` or `complete from epoch 2`."""
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
