"""Write plots/report.html (one self-contained page), the main numbers in metrics/headline, and archives of a run."""

import base64
import io
import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from triptych.core.errors import InputError
from triptych.core.files import write_json, write_text
from triptych.page import tables, verdicts
from triptych.page.verdicts import Verdict
from triptych.report.formatting import hardware, written
from triptych.report.reader import CLAIMS, Results, value_at
from triptych.report.record import Study
from triptych.report.sentences import Facts, plain, sources
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
ARCHIVES = {"full": Path("docs/full"), "real": Path("docs/real")}  # committed runs of these profiles
HEADLINE = Path("metrics/headline")
ARCHIVED = ("params.yaml", "metrics/**/*.json", "plots/**/*.csv")  # figures are on the page
OF_VARIANTS = ("ssl", "evaluate_ssl")  # folders with files of each variant
HIGHLIGHT = "stop-gradient"  # the claim that the first lines of the page report
KINDS = {
    "result": "Claims that the report supports with measurements",
    "argument": "Claims that the report only argues for, because the assignment asked for arguments",
    "beyond": "Claims of newer work, which the report does not discuss",
}
PAGE, MACHINE = Path("plots/report.html"), Path("run.json")
SMALL_PIXELS = 900  # up to this width two figures fit side by side on a wide screen
MOST_COLOURS = 2**14  # charts have fewer colours, sheets of images more
# Charts are compressed without loss, which keeps lines sharp. Rounding each channel to multiples of 5, which include
# black and white, saves a fifth of the bytes.
LEVELS = [round(level / 5) * 5 for level in range(256)]


@dataclass(frozen=True)
class Picture:
    """A picture as a data URI. The size in pixels lets a browser reserve space before it decodes the picture."""

    uri: str
    width: int
    height: int


def render(results: Results, with_data: bool = True) -> str:
    """Return the page as HTML with embedded pictures and styles. The page has no scripts and needs no network.

    Missing results are omitted. Verdicts are compared with those of ARCHIVES. If `with_data` is False, pictures that
    show many images of the dataset are omitted too.
    """
    params = results.params
    facts = Facts(results, METRICS, writers(params))
    archives = {name: Results(results.root / path) for name, path in ARCHIVES.items()}
    archives = {name: archive for name, archive in archives.items() if archive.has(CLAIMS)}
    claims = verdicts.read_verdicts(results, archives) if results.has(CLAIMS) else []
    panels = [_panel(number, study, claims, facts, with_data) for number, study in enumerate(STUDIES)]
    level = value_at(params, "evaluation.confidence_level")
    return TEMPLATES.get_template("page.html.j2").render(
        tables=tables,
        datasets=_datasets(results, with_data),
        with_data=with_data,
        settings=[
            (label, written(value, ".6g" if isinstance(value, float) else ""), key)
            for key, label in SETTINGS.items()
            if (value := value_at(params, key)) is not None
        ],
        corrected=any(study.corrections for study in STUDIES),
        params=params,
        small_pixels=SMALL_PIXELS,
        params_text=(results.root / "params.yaml").read_text(encoding="utf-8"),
        level="" if level is None else f"{100 * level:g}\u00a0%",
        training=tables.training_table(results),
        machines=_machines(results),
        spent=tables.time_spent(results),
        verdicts=claims,
        groups=[
            (text, [claim for claim in claims if claim.kind == kind and claim.measured]) for kind, text in KINDS.items()
        ],
        highlight=next((claim for claim in claims if claim.id == HIGHLIGHT and claim.measured), None),
        unmeasured=[claim for claim in claims if not claim.measured],
        counts=Counter(claim.answer for claim in claims),
        drawn={shown["figure"].number for panel in panels for _, group in panel["groups"] for shown in group},
        stages=facts.writers,
        panels=panels,
    )


def write_headline(results: Results) -> None:
    """Rewrite the folder metrics/headline: one file per model with the few numbers that `dvc metrics show` prints."""
    shutil.rmtree(results.root / HEADLINE, ignore_errors=True)
    for study in STUDIES:
        for model in study.models(results.params):
            numbers: dict = {}
            for name in (model.name, f"timing/{model.name}"):
                numbers |= results.metrics(name).values if results.has(f"metrics/{name}.json") else {}
            keys = [metric.key for metric in study.metrics if metric.headline and numbers.get(metric.key) is not None]
            if keys:
                write_json(results.root / HEADLINE / f"{model.name}.json", {key: numbers[key] for key in keys})


def archive(results: Results, folder: Path, machine: dict, with_data: bool, force: bool = False) -> list[Path]:
    """Write the results to `folder`, replacing any earlier archive, and return the file paths relative to `folder`.

    `machine` describes the machine and is written to run.json. If `with_data` is False, the page omits pictures with
    many images of the dataset. Raises InputError if `folder` contains the run itself, or if it is neither empty nor
    an archive and `force` is False.
    """
    if folder.resolve() in (results.root.resolve(), *results.root.resolve().parents):
        raise InputError(f"{folder}: a run cannot be archived in its own folder; choose another one, such as docs/real")
    if not (force or not folder.exists() or is_archive(folder) or (folder.is_dir() and not any(folder.iterdir()))):
        raise InputError(
            f"{folder}: not a triptych archive (no triptych version in {MACHINE}), so nothing was deleted; "
            "choose another folder, or use --force to replace metrics/ and plots/ in this one"
        )
    html = render(results, with_data)  # damaged input fails here, before anything is deleted
    write_json(folder / MACHINE, machine)  # first, so that an interrupted archive is recognised
    for old in ("metrics", "plots"):
        shutil.rmtree(folder / old, ignore_errors=True)
    present = sorted(path.relative_to(results.root) for pattern in ARCHIVED for path in results.root.glob(pattern))
    files = [path for path in present if _is_current(path, results)]
    for path in files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(results.root / path, folder / path)
    write_text(folder / PAGE, html)
    return [*files, PAGE, MACHINE]


def is_archive(folder: Path) -> bool:
    """Return True if the folder contains a run.json with a triptych version."""
    try:
        return "triptych" in json.loads((folder / MACHINE).read_text(encoding="utf-8"))["versions"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def embedded(path: Path) -> Picture:
    """Convert a PNG file to WebP, and return it as a data URI. Identical files produce identical data URIs."""
    try:
        with Image.open(path, formats=["PNG"]) as png:
            image = png.convert("RGB")
    except (OSError, SyntaxError) as error:  # Pillow raises SyntaxError for broken chunks
        raise InputError(f"{path}: damaged or not a PNG file; rerun the stage that draws it") from error
    content = io.BytesIO()
    if image.getcolors(MOST_COLOURS) is None:  # sheets show enlarged images, which stay sharp under lossy compression
        image.save(content, "WEBP", quality=80, method=5)
    else:
        image.point(LEVELS * 3).save(content, "WEBP", lossless=True, method=2)
    return Picture(f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}", *image.size)


def _is_current(path: Path, results: Results) -> bool:
    """Return False if a file belongs to a variant that is no longer in params.yaml. DVC does not delete such files."""
    if path.parent.name not in OF_VARIANTS:
        return True
    variant = path.stem if path.suffix == ".json" else path.stem.rpartition("_")[0]
    return variant in results.param("ssl.variants")


def _panel(number: int, study: Study, claims: Sequence[Verdict], facts: Facts, with_data: bool) -> dict:
    """Return the content of a study's section: its measured models, its figures by heading, and its missing figures."""
    shown, missing = [], []
    for figure in study.figures:
        path = figure.path(facts.results.root / FIGURES)
        if figure.shows_data and not with_data:
            continue
        if path.exists():
            about = [claim for claim in claims if figure.number in claim.figures]
            shown.append(
                {"figure": figure, "picture": embedded(path), "sentence": facts.sentence(figure), "claims": about}
            )
        elif figure.of_report:
            missing.append(figure.number)
    return {
        "study": study,
        "number": number,  # 0 for the judge
        "models": [(model, metrics) for of, model, metrics in tables.measured(facts.results) if of is study],
        "groups": [(title, list(group)) for title, group in groupby(shown, lambda shown: shown["figure"].group)],
        "missing": missing,
    }


def _datasets(results: Results, with_data: bool) -> list[tuple[str, Mapping, Picture | None]]:
    """Return the purpose, the data card and the picture (None if there is none) of each dataset."""
    cards = results.metrics("data").values if results.has("metrics/data.json") else {}
    datasets = []
    for name, card in cards.items():
        path = results.root / "plots/data" / f"{name}.png"
        sheet = embedded(path) if with_data and path.exists() else None
        datasets.append((USED_BY.get(name, f"for {name}"), card, sheet))
    return datasets


def _machines(results: Results) -> list[str]:
    """Return a text for each machine that trained a model: its device, threads, precision and torch version."""
    texts = []
    for _, timing in tables.trainings(results):
        torch = f"torch {timing['torch']}" if "torch" in timing else ""
        texts.append(", ".join(filter(None, (hardware(timing), timing.get("precision"), torch))))
    return list(dict.fromkeys(texts))


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Return the first and last number of each range of consecutive integers in a sorted sequence."""
    runs = [[number for _, number in run] for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])]
    return [(run[0], run[-1]) for run in runs]


TEMPLATES = Environment(
    loader=PackageLoader("triptych.page", "."),
    autoescape=lambda name: name == "page.html.j2",
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters |= {"written": written, "plain": plain, "runs": _runs, "sources": sources}
