"""plots/report.html: the whole report in one self-contained file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from triptych.core.files import write_text
from triptych.page import tables, verdicts
from triptych.page.pictures import Picture, embedded
from triptych.page.tables import Compared, Row
from triptych.page.time_spent import COLUMNS, time_spent
from triptych.page.verdicts import Verdict
from triptych.report.formatting import duration, written, written_place
from triptych.report.reader import CLAIMS, Metrics, Results, value_at
from triptych.report.record import Figure, Metric, Part, Study
from triptych.report.sentences import Facts, Sentence, plain, sources
from triptych.studies import METRICS, STUDIES, writers

# The settings that a reader asks for first, before those of each study and after; all others stand in the file printed
# below them.
FIRST = {"seed": "seed"}
LAST = {
    "evaluation.bootstrap": "bootstrap resamples",
    "evaluation.recognition_threshold": "judge: sure from a probability of",
}
USED_BY = {"generative": "of the judge, the VAE and the DDPM", "ssl": "of SimSiam, its ablations and rivals"}
FIGURES = "plots/figures"
SMALL_PIXELS = 900


@dataclass(frozen=True)
class _Shown:
    figure: Figure
    picture: Picture
    saw: Sentence
    claims: list[Verdict]

    @property
    def alternative(self) -> str:
        """The text in place of the picture: what it is, and what is seen in it."""
        return f"Figure {self.figure.number}: {self.figure.title}. {plain(self.saw)}".strip()

    @property
    def told_by(self) -> dict[str, str]:
        """The files whose numbers the sentence quotes, each with the stage that wrote it."""
        return sources(self.saw)

    @property
    def small(self) -> bool:
        """Whether two fit side by side on a wide screen with their text still readable."""
        return self.picture.width < SMALL_PIXELS


@dataclass(frozen=True)
class _Measured:
    part: Part
    metrics: Metrics | None
    rows: list[Row]
    tables: dict[str, list[dict[str, str]]]
    notes: list[tuple[str, str]]
    timing: Metrics | None


@dataclass
class _Panel:
    """A section of the page.

    Attributes:
        study: what it is about.
        number: the study's; 0 of the judge, which is none of the three.
        measured: its models that have run.
        remark: see Study.
        groups: its figures that are drawn, under their headings.
        missing: the numbers of the report's figures that are not.
    """

    study: Study
    number: int
    measured: list[_Measured]
    remark: str
    groups: list[tuple[str, list[_Shown]]] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)

    @property
    def compared(self) -> tuple[list[Metric], list[Compared]]:
        """The table of all models of this study."""
        return tables.comparison(self.study, [(one.part, one.metrics) for one in self.measured if one.rows])


def write(path: Path, results: Results, with_data: bool = True) -> None:
    """Writes the page, see `render`.

    Raises:
        InputError: an input is damaged.
    """
    write_text(path, render(results, with_data))


def render(results: Results, with_data: bool = True) -> str:
    """The page as HTML: pictures as data URIs, style inline, no script, nothing from the network.

    What has not been made yet is left out, and the page says what will come.

    Args:
        results: of the run.
        with_data: whether pictures that show many images of the dataset are on it.

    Raises:
        InputError: an input is damaged.
    """
    environment = Environment(
        loader=PackageLoader("triptych.page", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"written": written, "duration": duration, "ranges": _ranges, "runs": _runs}
    params = results.params
    facts = Facts(results, METRICS, writers(params))
    claims = [verdicts.verdict(record) for record in results.claims()] if results.has(CLAIMS) else None
    panels = [_panel(number, study, claims or [], facts, with_data) for number, study in enumerate(STUDIES)]
    timed = [one for panel in panels for one in panel.measured if one.timing]
    return environment.get_template("page.html.j2").render(
        cards=_cards(results, with_data),
        with_data=with_data,
        used_by=USED_BY,
        settings=_settings(params),
        corrected=any(study.corrections for study in STUDIES),
        params_text=(results.root / "params.yaml").read_text(encoding="utf-8"),
        level=_confidence(params),
        timed=timed,
        seconds=sum(one.timing.values.get("seconds_total", 0) for one in timed),
        machines=_machines([one.timing for one in timed]),
        spent=time_spent(results),
        spent_on=COLUMNS,
        verdicts=claims,
        counts=verdicts.counts(claims or []),
        drawn={shown.figure.number for panel in panels for _, group in panel.groups for shown in group},
        stages=facts.writers,
        panels=panels,
    )


def _measured(study: Study, part: Part, results: Results) -> _Measured | None:
    metrics = results.metrics(part.name) if results.has(part.metrics) else None
    timing = results.timing(part.name) if results.has(part.timing) else None
    if metrics is None:
        return _Measured(part, None, [], {}, [], timing) if timing else None
    return _Measured(part, metrics, tables.rows(study, metrics), tables.tables(metrics), tables.notes(metrics), timing)


def _panel(number: int, study: Study, claims: Sequence[Verdict], facts: Facts, with_data: bool) -> _Panel:
    results = facts.results
    measured = [_measured(study, part, results) for part in study.parts(results.params)]
    panel = _Panel(study, number, [one for one in measured if one], study.remark(results.params))
    shown = []
    for figure in study.figures:
        path = figure.path(results.root / FIGURES)
        if figure.shows_data and not with_data:
            continue
        if path.exists():
            about = [verdict for verdict in claims if figure.number in verdict.figures]
            shown.append(_Shown(figure, embedded(path), facts.sentence(figure), about))
        elif figure.of_report:
            panel.missing.append(figure.number)
    panel.groups = [(group, list(members)) for group, members in groupby(shown, lambda one: one.figure.group)]
    return panel


def _cards(results: Results, with_data: bool) -> list[tuple[str, dict, Picture | None]]:
    """(dataset, data card, picture of it) of each dataset."""
    cards = results.metrics("data").values if results.has("metrics/data.json") else {}
    grids = {name: results.root / "plots/data" / f"{name}.png" for name in cards}
    return [
        (name, card, embedded(grids[name]) if with_data and grids[name].exists() else None)
        for name, card in cards.items()
    ]


def _settings(params: Mapping) -> list[tuple[str, str, str]]:
    """(label, value, key) of the settings that exist."""
    wanted = dict(FIRST)
    for study in STUDIES:
        wanted |= study.settings
    found = []
    for key, label in (wanted | LAST).items():
        value = value_at(params, key)
        if value is not None:
            found.append((label, written(value, ".6g" if isinstance(value, float) else ""), key))
    return found


def _confidence(params: Mapping) -> str:
    """`95 %`, or nothing when the params do not say."""
    level = (params.get("evaluation") or {}).get("confidence_level")
    return "" if level is None else f"{100 * level:g}\u00a0%"


def _machines(timings: Sequence[Metrics]) -> list[str]:
    """Each place that trained something: device, precision, threads, torch."""
    places = []
    for timing in (one.values for one in timings):
        words = [written_place(timing)]
        words += [str(timing["precision"])] if "precision" in timing else []
        words += [f"torch {timing['torch']}"] if "torch" in timing else []
        places.append(", ".join(words))
    return list(dict.fromkeys(places))


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """First and last of each run of consecutive numbers."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return runs


def _ranges(numbers: Sequence[int]) -> str:
    """`28–43, 50`."""
    return ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in _runs(numbers))
