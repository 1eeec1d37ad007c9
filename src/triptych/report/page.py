"""plots/report.html: the whole report in one self-contained file."""

import base64
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from triptych.core.errors import InputError
from triptych.core.files import write_text
from triptych.core.schema import read_yaml
from triptych.results import measurements, readings
from triptych.results.measurements import Compared, Measure, Source, Verdict
from triptych.results.readings import Facts, File, Sentence
from triptych.studies.catalogue import FIGURES, REPORT_FIGURES, Figure, figure_path

# The settings that a reader asks for first; all others stand in the file printed below them.
SETTINGS: dict[str, str] = {
    "seed": "seed",
    "classifier.training.epochs": "judge: epochs",
    "vae.network.latents": "VAE: latents",
    "vae.likelihood_sigma": "VAE: σ of p(x|z)",
    "vae.training.epochs": "VAE: epochs",
    "vae.training.batch_size": "VAE: batch size",
    "vae.training.optimiser.learning_rate": "VAE: learning rate",
    "vae.evaluation.importance_samples": "VAE: importance samples K",
    "ddpm.network.name": "DDPM: network",
    "ddpm.process.parameterisation": "DDPM: what the network predicts",
    "ddpm.process.schedule.name": "DDPM: noise schedule",
    "ddpm.training.epochs": "DDPM: epochs",
    "ddpm.training.batch_size": "DDPM: batch size",
    "ddpm.training.optimiser.learning_rate": "DDPM: learning rate",
    "ssl.shared.backbone.name": "SimSiam: encoder",
    "ssl.methods.simsiam.training.epochs": "SimSiam: epochs",
    "ssl.methods.simsiam.training.batch_size": "SimSiam: batch size",
    "ssl.methods.simsiam.training.optimiser.learning_rate": "SimSiam: learning rate",
    "ssl.shared.seeds": "SimSiam: seeds of each variant",
    "ssl.shared.knn.neighbours": "kNN: k",
    "ssl.shared.knn.temperature": "kNN: temperature",
    "ssl.evaluation.collapse.embedding_std": "collapsed below an embedding std of",
    "evaluation.bootstrap": "bootstrap resamples",
    "evaluation.recognition_threshold": "judge: sure from a probability of",
}
USED_BY = {"generative": "of the judge, the VAE and the DDPM", "ssl": "of SimSiam, its ablations and rivals"}

SMALL_PIXELS = 900


@dataclass(frozen=True)
class Study:
    """A panel of the triptych: how the page introduces it, and where the report's wording is wrong."""

    slug: str
    short: str
    title: str
    question: str
    corrections: tuple[str, ...] = ()


STUDIES = (
    Study(
        "vae",
        "VAE",
        "Variational autoencoder",
        "A network squeezes each image into a few Gaussian latents and rebuilds it from them: what do the latents "
        "keep, and what do images drawn from the prior look like?",
    ),
    Study(
        "ddpm",
        "DDPM",
        "Denoising diffusion",
        "A network learns to undo noise, one small step at a time: do its samples beat the VAE's, and from how much "
        "noise does an image come back?",
    ),
    Study(
        "simsiam",
        "SimSiam",
        "SimSiam, its ablations and rivals",
        "Two views of one image should be told alike, without negatives: what keeps every image from being told alike?",
        (
            "The loss is a negative cosine, so its floor is −1, not 1.",
            "Stop-gradient acts on the target branch: the branch with the predictor is the one that learns.",
            "SimSiam does not reconstruct its input; it only makes the embeddings of two views agree.",
            "BYOL is not contrastive: it uses no negatives.",
        ),
    ),
)


@dataclass(frozen=True)
class Inputs:
    """The files that the page is made of. Those that do not exist yet are left out, and the page says what will come.

    Attributes:
        params: params.yaml.
        data: metrics/data.json, the data cards.
        grids: a picture of each dataset, by the card's name in that file.
        sources: every part of the pipeline that is measured.
        quoted: further files that the figures' sentences quote, each with the stage that writes it, by the name that
            `readings` gives it.
        claims: metrics/claims.json.
        figures: the folder of the figures.
    """

    params: Path
    data: Path
    grids: Mapping[str, Path]
    sources: Sequence[Source]
    quoted: Mapping[str, tuple[Path, str]]
    claims: Path
    figures: Path


@dataclass(frozen=True)
class _Picture:
    """A PNG inside the page."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class _Shown:
    figure: Figure
    picture: _Picture
    saw: Sentence
    claims: list[Verdict]

    @property
    def alternative(self) -> str:
        """The text in place of the picture: what it is, and what is seen in it."""
        return f"Figure {self.figure.number}: {self.figure.title}. {readings.plain(self.saw)}".strip()

    @property
    def told_by(self) -> list[File]:
        """The files whose numbers the sentence quotes."""
        return readings.files_of(self.saw)

    @property
    def small(self) -> bool:
        """Whether two fit side by side on a wide screen with their text still readable."""
        return self.picture.width < SMALL_PIXELS


@dataclass(frozen=True)
class _Measured:
    source: Source
    metrics: dict
    rows: list[measurements.Row]
    tables: dict[str, list[dict[str, str]]]
    notes: list[tuple[str, str]]
    timing: dict | None


@dataclass
class _Panel:
    study: Study
    measured: list[_Measured]
    groups: list[tuple[str, list[_Shown]]] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)

    @property
    def compared(self) -> tuple[list[Measure], list[Compared]]:
        """The table of all methods of this study."""
        return measurements.comparison([(part.source, part.metrics) for part in self.measured if part.rows])


def write(path: Path, inputs: Inputs) -> None:
    """Writes the page.

    Raises:
        InputError: an input is damaged.
    """
    write_text(path, render(inputs))


def render(inputs: Inputs) -> str:
    """The page as HTML: pictures as data URIs, style inline, no script, nothing from the network.

    Raises:
        InputError: an input is damaged.
    """
    environment = Environment(
        loader=PackageLoader("triptych.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "written": measurements.written,
        "interval": measurements.written_interval,
        "duration": measurements.duration,
        "ranges": _ranges,
        "runs": _runs,
    }
    params = read_yaml(inputs.params)
    measured = [part for source in inputs.sources if (part := _measured(source)) is not None]
    claims = measurements.read_claims(inputs.claims)
    verdicts = [measurements.verdict(claim) for claim in claims or []]
    facts = Facts(_files(inputs), params)
    return environment.get_template("page.html.j2").render(
        cards=_cards(inputs),
        used_by=USED_BY,
        settings=_settings(params),
        methods_of=_methods(params),
        corrected=any(study.corrections for study in STUDIES),
        widths=readings.widths(params),
        params_text=inputs.params.read_text(encoding="utf-8"),
        level=_confidence(params),
        judge=[part for part in measured if part.source.study == "classifier"],
        timed=[part for part in measured if part.timing],
        seconds=sum(part.timing.get("seconds_total", 0) for part in measured if part.timing),
        machines=_machines(measured),
        verdicts=None if claims is None else verdicts,
        counts=_counts(verdicts),
        drawn={entry.number for entry in FIGURES if figure_path(inputs.figures, entry.number).exists()},
        stages={file.path: file.stage for file in facts.files.values()},
        panels=[_panel(study, measured, verdicts, facts, inputs.figures) for study in STUDIES],
    )


def _files(inputs: Inputs) -> dict[str, File]:
    """Everything that the figures' sentences quote, by the names that `readings` uses."""
    files = {name: (path, stage) for name, (path, stage) in inputs.quoted.items()}
    for source in inputs.sources:
        files[source.name] = source.metrics, source.measured_by
        files[f"timing/{source.name}"] = source.timing, source.trained_by
    found = {}
    for name, (path, stage) in files.items():
        content = measurements.read_table(path) if path.suffix == ".csv" else measurements.read_metrics(path)
        if content is not None:
            found[name] = File(path, stage, content)
    return found


def _measured(source: Source) -> _Measured | None:
    metrics = measurements.read_metrics(source.metrics)
    timing = measurements.read_metrics(source.timing)
    if metrics is None and timing is None:
        return None
    metrics = metrics or {}
    rows, tables, notes = (read(metrics) for read in (measurements.rows, measurements.tables, measurements.notes))
    return _Measured(source, metrics, rows, tables, notes, timing)


def _panel(
    study: Study, measured: Sequence[_Measured], verdicts: Sequence[Verdict], facts: Facts, folder: Path
) -> _Panel:
    panel = _Panel(study, [part for part in measured if part.source.study == study.slug])
    shown = []
    for entry in (entry for entry in FIGURES if entry.study == study.slug):
        path = figure_path(folder, entry.number)
        if path.exists():
            claims = [verdict for verdict in verdicts if entry.number in verdict.figures]
            shown.append(_Shown(entry, _picture(path), readings.reading(entry.number, facts), claims))
        elif entry in REPORT_FIGURES:
            panel.missing.append(entry.number)
    panel.groups = [(group, list(members)) for group, members in groupby(shown, lambda one: one.figure.group)]
    return panel


def _picture(path: Path) -> _Picture:
    """A PNG as a data URI, with its size, so that the page does not jump as it loads."""
    content = path.read_bytes()
    if content[:8] != b"\x89PNG\r\n\x1a\n" or len(content) < 24:
        raise InputError(f"{path}: not a PNG; run the figures stage again")
    width, height = struct.unpack(">II", content[16:24])
    return _Picture(f"data:image/png;base64,{base64.b64encode(content).decode()}", width, height)


def _cards(inputs: Inputs) -> list[tuple[str, dict, _Picture | None]]:
    """(study, data card, grid) of each dataset."""
    cards = measurements.read_metrics(inputs.data) or {}
    return [
        (name, card, _picture(grid) if (grid := inputs.grids.get(name)) is not None and grid.exists() else None)
        for name, card in cards.items()
    ]


def _settings(params: Mapping) -> list[tuple[str, str, str]]:
    """(label, value, key) of the settings that exist."""
    found = []
    for key, label in SETTINGS.items():
        value: object = params
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            found.append((label, measurements.written(value, ".6g" if isinstance(value, float) else ""), key))
    return found


def _methods(params: Mapping) -> dict[str, str]:
    """How each method of the third study is set up, by the name of its files: of an ablation, what it changes."""
    variants = (params.get("ssl") or {}).get("variants") or {}
    baseline = variants.get("simsiam") or {}
    words = {}
    for name, settings in variants.items():
        is_ablation = name != "simsiam" and settings.get("method") == baseline.get("method")
        shown = {key: value for key, value in settings.items() if not is_ablation or baseline.get(key) != value}
        words[f"ssl/{name}"] = measurements.described(shown)
    return words


def _confidence(params: Mapping) -> str:
    """`95 %`, or nothing when the params do not say."""
    level = (params.get("evaluation") or {}).get("confidence_level")
    return "" if level is None else f"{100 * level:g}\u00a0%"


def _machines(measured: Sequence[_Measured]) -> list[str]:
    """Each place that trained something: device, precision, threads, torch."""
    places = []
    for timing in (part.timing for part in measured if part.timing):
        device = str(timing.get("device", "unknown device"))
        words = [device.upper() if device in ("cpu", "mps") else device]
        words += [str(timing["precision"])] if "precision" in timing else []
        words += [f"{timing[key]} {key}" for key in ("threads", "processes") if timing.get(key, 1) > 1]
        words += [f"torch {timing['torch']}"] if "torch" in timing else []
        places.append(", ".join(words))
    return list(dict.fromkeys(places))


def _counts(verdicts: Sequence[Verdict]) -> list[tuple[Verdict, int]]:
    """One of each verdict, and how many claims got it."""
    words = [verdict.verdict for verdict in verdicts]
    return [(verdict, words.count(verdict.verdict)) for verdict in {one.verdict: one for one in verdicts}.values()]


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
