"""Model cards in the form that the Hugging Face hub reads: front matter in YAML, then Markdown.

Everything in a card is from the files of the run, and nothing from the clock: the same run gives the same bytes.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from triptych.core.errors import InputError
from triptych.core.files import write_text
from triptych.measures.estimate import Estimate
from triptych.page import tables
from triptych.report.reader import Metrics, Results, value_at
from triptych.report.record import Part, Study
from triptych.ssl.words.variants import variants
from triptych.studies import STUDIES

FOLDER = Path("models/cards")
# Data under terms as free as the code's, and the names of public data on the hub, by the source in the data card.
FREE = ("drawn by triptych", "torchvision.datasets.FashionMNIST")
ON_THE_HUB = {
    "torchvision.datasets.SVHN": "ufldl-stanford/svhn",
    "torchvision.datasets.CIFAR10": "uoft-cs/cifar10",
    "torchvision.datasets.MNIST": "ylecun/mnist",
    "torchvision.datasets.FashionMNIST": "zalando-datasets/fashion_mnist",
}


@dataclass(frozen=True)
class Kind:
    """What the models of a study are for.

    Attributes:
        task: the hub's name of it.
        tags: further words to find it by.
        data: which of the two datasets it is trained on.
        gives: what it computes, in one sentence.
        uses: what it is for.
        misuses: what it must not be used for.
    """

    task: str
    tags: tuple[str, ...]
    data: str
    gives: str
    uses: tuple[str, ...]
    misuses: tuple[str, ...]


_STUDIED = "Research and teaching: to look at, measure and compare the method, on images like the training data."
_NO_PRODUCT = "Decisions about people, or any product: it is small, trained briefly, and tested on one dataset only."
_GENERATES = Kind(
    task="unconditional-image-generation",
    tags=("image-generation",),
    data="generative",
    gives="",
    uses=(_STUDIED, "New images like the training data, and variations of given ones."),
    misuses=(_NO_PRODUCT, "Images that pass for photographs; or training data for another model, unmeasured."),
)
# By the slug of the study.
KINDS = {
    "judge": Kind(
        task="image-classification",
        tags=("evaluation",),
        data="generative",
        gives="From an image it computes features, in which distances between sets of images are measured, and logits "
        "of the classes.",
        uses=(_STUDIED, "To measure images made by models of the same training data, as in this project."),
        misuses=(_NO_PRODUCT, "Distances across datasets: unlike Inception's, its features are those of one dataset."),
    ),
    "vae": replace(
        _GENERATES,
        tags=("vae", *_GENERATES.tags),
        gives="Its encoder gives mean and log-variance of an image's latents, its decoder an image from latents.",
    ),
    "ddpm": replace(
        _GENERATES,
        tags=("ddpm", "diffusion", *_GENERATES.tags),
        gives="From noisy images and their times it predicts what `process` in `config.json` says; a sampler that "
        "calls it step by step makes images from noise.",
    ),
    "simsiam": Kind(
        task="image-feature-extraction",
        tags=("self-supervised-learning",),
        data="ssl",
        gives="From an image it computes the features of its backbone, and their projection, in which views were "
        "compared during training.",
        uses=(_STUDIED, "Features of images like the training data, for nearest neighbours or a linear classifier."),
        misuses=(_NO_PRODUCT, "Features of other images, such as photographs: nothing here measures them."),
    ),
}


def write(results: Results) -> None:
    """Writes the folder of cards anew, see `rendered`, so that it holds no model that params.yaml no longer names.

    Raises:
        InputError: a file of the run is damaged.
    """
    found = rendered(results)
    folder = results.root / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, card in found.items():
        write_text(folder / f"{name}.md", card)


def rendered(results: Results) -> dict[str, str]:
    """The card of each model that has been measured, by the model's name.

    Raises:
        InputError: a file of the run is damaged.
    """
    parts = [part for study in STUDIES for part in study.parts(results.params)]
    return {part.name: render(results, part.name) for part in parts if results.has(part.metrics)}


def render(results: Results, name: str, files: Mapping[str, str] | None = None) -> str:
    """The card of a model; what has not been measured yet is left out.

    Args:
        results: of the run.
        name: of the model: `classifier`, `vae`, `ddpm`, `ssl/<variant>`.
        files: what lies beside the card, each with what it is; None: the card is the pipeline's.

    Raises:
        InputError: params.yaml names no such model, or a file of the run is damaged.
    """
    study, part = _part(results, name)
    kind = KINDS[study.slug]
    data = results.metrics("data").values.get(kind.data) if results.has("metrics/data.json") else None
    metrics = results.metrics(name) if results.has(part.metrics) else None
    timing = results.timing(name) if results.has(part.timing) else Metrics(part.timing, {})
    level = value_at(results.params, "evaluation.confidence_level")
    environment = Environment(
        loader=PackageLoader("triptych.page", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = _cell
    return environment.get_template("card.md.j2").render(
        front_matter=_yaml(_front_matter(study, part, kind, data, metrics, level)),
        study=study,
        part=part,
        kind=kind,
        files=files,
        data=data,
        params=_yaml(settings(results.params, name)),
        seed=results.params.get("seed"),
        parameters=timing.value("parameters"),
        rows=tables.rows(study, metrics) if metrics else [],
        seeds=[row.value("seed") for row in metrics.rows("seeds")] if metrics else [],
        collapse=metrics.value("collapse_reason") if metrics and metrics.value("collapsed") else None,
        level=level,
    )


def settings(params: Mapping, name: str) -> dict:
    """The settings that a model is trained by; of an encoder what all share, its method's and its own, in one."""
    if not name.startswith("ssl/"):
        return params.get(name) or {}
    variant = variants(params)[name.removeprefix("ssl/")]
    return {"method": variant.method, **variant.recipe}


def _part(results: Results, name: str) -> tuple[Study, Part]:
    found = {part.name: (study, part) for study in STUDIES for part in study.parts(results.params)}
    if name not in found:
        raise InputError(f"{results.root / 'params.yaml'}: no model '{name}' (there are {', '.join(found)})")
    return found[name]


def _front_matter(
    study: Study, part: Part, kind: Kind, data: Mapping | None, metrics: Metrics | None, level: float | None
) -> dict:
    """What the hub reads: https://huggingface.co/docs/hub/model-cards."""
    source = data["source"] if data else ""
    free = source.startswith(FREE)
    licence = {"license": "mit"} if free else {"license": "other", "license_name": "mit-code-and-the-terms-of-the-data"}
    method = [part.name.replace("/", "-")] if study.compares else []
    found = {
        **licence,
        "library_name": "triptych",
        "pipeline_tag": kind.task,
        "tags": ["triptych", *kind.tags, *method],
    }
    if source in ON_THE_HUB:
        found["datasets"] = [ON_THE_HUB[source]]
    if data and metrics:
        result = {
            "task": {"type": kind.task},
            "dataset": {"name": data["name"], "type": ON_THE_HUB.get(source, data["name"]), "split": "test"},
            "metrics": _measured(study, metrics, level),
        }
        found["model-index"] = [{"name": f"triptych-{part.name.replace('/', '-')}", "results": [result]}]
    return found


def _measured(study: Study, metrics: Metrics, level: float | None) -> list[dict]:
    """The numbers as they stand in the metrics file, each with its interval, where it has one, under `args`."""
    leaves, found = metrics.leaves(), []
    for row in tables.rows(study, metrics):
        value = leaves[row.key]
        if isinstance(value, Estimate):
            args = value.interval | {"confidence_level": level}
            found.append({"type": row.key, "name": row.name, "value": value.value, "args": args})
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found.append({"type": row.key, "name": row.name, "value": value})
    return found


def _yaml(tree: Mapping) -> str:
    return yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)


def _cell(text: str) -> str:
    """Text in a cell of a table of Markdown."""
    return text.replace("|", "\\|")
