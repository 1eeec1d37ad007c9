"""Write plots/report.html, the whole report in one self-contained file, and metrics/headline."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from triptych.core.files import write_json
from triptych.page import tables, verdicts
from triptych.page.pictures import Picture, embedded
from triptych.page.time_spent import time_spent
from triptych.page.verdicts import Verdict
from triptych.report.formatting import written, written_place
from triptych.report.reader import CLAIMS, Metrics, Results, value_at
from triptych.report.record import Figure, Model, Study
from triptych.report.sentences import Facts, Sentence, plain, sources
from triptych.studies import METRICS, STUDIES, writers

# Key and label of the main settings; params.yaml is printed in full below them.
SETTINGS = {
    "seed": "seed",
    **{key: label for study in STUDIES for key, label in study.settings.items()},
    "evaluation.bootstrap": "bootstrap resamples",
    "evaluation.recognition_threshold": "recognition threshold of the judge",
}
USED_BY = {"generative": "for the judge, the VAE and the DDPM", "ssl": "for SimSiam, its ablations and rivals"}
FIGURES = "plots/figures"
HEADLINE = Path("metrics/headline")
SMALL_PIXELS = 900  # up to this width two figures fit side by side on a wide screen


@dataclass(frozen=True)
class Shown:
    """A figure on the page, with a sentence on this run and the claims that it shows."""

    figure: Figure
    picture: Picture
    sentence: Sentence
    claims: list[Verdict]

    @property
    def alternative(self) -> str:
        """Text in place of the picture."""
        return f"Figure {self.figure.number}: {self.figure.title}. {plain(self.sentence)}".strip()


@dataclass
class Panel:
    """A section of the page: a study, its measured models, and its figures under their headings."""

    study: Study
    number: int  # 0 for the judge
    models: list[tuple[Model, Metrics]]
    groups: list[tuple[str, list[Shown]]] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)


def render(results: Results, with_data: bool = True) -> str:
    """Return the page: pictures as data URIs, style inline, no script, nothing from the network.

    Without `with_data` it has no pictures that show many images of the dataset. Results that do not exist are omitted.
    """
    environment = Environment(
        loader=PackageLoader("triptych.page", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"written": written, "runs": _runs, "sources": sources}
    params = results.params
    facts = Facts(results, METRICS, writers(params))
    claims = [verdicts.verdict(record) for record in results.claims()] if results.has(CLAIMS) else []
    panels = [_panel(number, study, claims, facts, with_data) for number, study in enumerate(STUDIES)]
    level = value_at(params, "evaluation.confidence_level")
    return environment.get_template("page.html.j2").render(
        tables=tables,
        datasets=_datasets(results, with_data),
        with_data=with_data,
        settings=_settings(params),
        corrected=any(study.corrections for study in STUDIES),
        params=params,
        small_pixels=SMALL_PIXELS,
        params_text=(results.root / "params.yaml").read_text(encoding="utf-8"),
        level="" if level is None else f"{100 * level:g}\u00a0%",
        training=tables.training_table(results),
        machines=_machines(results),
        spent=time_spent(results),
        verdicts=claims,
        counts=verdicts.counts(claims),
        drawn={shown.figure.number for panel in panels for _, group in panel.groups for shown in group},
        stages=facts.writers,
        panels=panels,
    )


def write_headline(results: Results) -> None:
    """Write metrics/headline anew: the few numbers that `dvc metrics show` prints, one file per model."""
    shutil.rmtree(results.root / HEADLINE, ignore_errors=True)
    for study in STUDIES:
        keys = [metric.key for metric in study.metrics if metric.headline]
        for part in study.models(results.params):
            numbers: dict = {}
            for name in (part.name, f"timing/{part.name}"):
                numbers |= results.metrics(name).values if results.has(f"metrics/{name}.json") else {}
            if found := {key: numbers[key] for key in keys if numbers.get(key) is not None}:
                write_json(results.root / HEADLINE / f"{part.name}.json", found)


def _panel(number: int, study: Study, claims: Sequence[Verdict], facts: Facts, with_data: bool) -> Panel:
    models = [(part, metrics) for of, part, metrics in tables.measured(facts.results) if of is study]
    panel = Panel(study, number, models)
    shown = []
    for figure in study.figures:
        path = figure.path(facts.results.root / FIGURES)
        if figure.shows_data and not with_data:
            continue
        if path.exists():
            about = [verdict for verdict in claims if figure.number in verdict.figures]
            shown.append(Shown(figure, embedded(path), facts.sentence(figure), about))
        elif figure.of_report:
            panel.missing.append(figure.number)
    panel.groups = [(group, list(members)) for group, members in groupby(shown, lambda one: one.figure.group)]
    return panel


def _datasets(results: Results, with_data: bool) -> list[tuple[str, Mapping, Picture | None]]:
    cards = results.metrics("data").values if results.has("metrics/data.json") else {}
    found = []
    for name, card in cards.items():
        path = results.root / "plots/data" / f"{name}.png"
        sheet = embedded(path) if with_data and path.exists() else None
        found.append((USED_BY.get(name, f"for {name}"), card, sheet))
    return found


def _settings(params: Mapping) -> list[tuple[str, str, str]]:
    return [
        (label, written(value, ".6g" if isinstance(value, float) else ""), key)
        for key, label in SETTINGS.items()
        if (value := value_at(params, key)) is not None
    ]


def _machines(results: Results) -> list[str]:
    """Describe each machine that trained something: device, threads, precision, torch."""
    found = []
    for _, timing in tables.trainings(results):
        torch = f"torch {timing['torch']}" if "torch" in timing else ""
        found.append(", ".join(filter(None, (written_place(timing), timing.get("precision"), torch))))
    return list(dict.fromkeys(found))


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Return the first and last of each run of consecutive numbers."""
    runs = [[number for _, number in run] for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])]
    return [(run[0], run[-1]) for run in runs]
