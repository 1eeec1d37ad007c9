"""Model cards for the Hugging Face hub: front matter in YAML, then Markdown. The same run gives the same bytes."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from triptych.core.errors import InputError
from triptych.core.files import write_text
from triptych.measures.estimate import Estimate
from triptych.page.tables import Table, measured, rows
from triptych.report.reader import Metrics, Results, value_at
from triptych.report.record import Model, Study
from triptych.ssl.words.variants import variants
from triptych.studies import STUDIES

FOLDER = Path("models/cards")
TEXTS = yaml.safe_load(Path(__file__).with_name("cards.yaml").read_text(encoding="utf-8"))


def write(results: Results) -> None:
    """Write the folder of cards anew."""
    cards = rendered(results)
    folder = results.root / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, card in cards.items():
        write_text(folder / f"{name}.md", card)


def rendered(results: Results) -> dict[str, str]:
    """Return the card of each model that has been measured, by its name."""
    return {part.name: render(results, part.name) for _, part, _ in measured(results)}


def render(results: Results, name: str, files: Mapping[str, str] | None = None) -> str:
    """Return the card of a model (`classifier`, `vae`, `ddpm`, `ssl/<variant>`) without results that do not exist.

    `files` has the meaning of each file next to the card; the pipeline's own cards have none.
    """
    models = {part.name: (study, part) for study in STUDIES for part in study.models(results.params)}
    if name not in models:
        raise InputError(f"{results.root / 'params.yaml'}: no model '{name}' (there are {', '.join(models)})")
    study, part = models[name]
    purpose = TEXTS["studies"][study.slug]
    data = results.metrics("data").values.get(purpose["dataset"]) if results.has("metrics/data.json") else None
    metrics = results.metrics(name) if results.has(part.metrics) else Metrics(part.metrics, {})
    timing = results.timing(name) if results.has(part.timing) else Metrics(part.timing, {})
    level = value_at(results.params, "evaluation.confidence_level")
    loader = PackageLoader("triptych.page", ".")
    environment = Environment(
        loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    return environment.get_template("card.md.j2").render(
        front_matter=_yaml(_front_matter(study, part, purpose, data, metrics, level)),
        study=study,
        part=part,
        purpose=purpose,
        files=files,
        data=data,
        params=_yaml(settings(results.params, name)),
        seeds=[row.value("seed") for row in metrics.rows("seeds")] or [results.params.get("seed")],
        parameters=timing.value("parameters"),
        measures=_measures(study, metrics),
        collapse=metrics.value("collapse_reason") if metrics.value("collapsed") else None,
        level=level,
    )


def settings(params: Mapping, name: str) -> dict:
    """Return the settings of a model's training; those of an encoder merged from `shared`, its method and variant."""
    if not name.startswith("ssl/"):
        return params.get(name) or {}
    variant = variants(params)[name.removeprefix("ssl/")]
    return {"method": variant.method, **variant.recipe}


def _front_matter(
    study: Study, part: Model, purpose: Mapping, data: Mapping | None, metrics: Metrics, level: float | None
) -> dict:
    """Return the hub's fields: https://huggingface.co/docs/hub/model-cards."""
    source = data["source"] if data else ""
    name = part.name.replace("/", "-")
    if source.startswith(tuple(TEXTS["free"])):
        found: dict = {"license": "mit"}
    else:
        found = {"license": "other", "license_name": "mit-code-and-the-terms-of-the-data"}
    found |= {
        "library_name": "triptych",
        "pipeline_tag": purpose["task"],
        "tags": ["triptych", *purpose["tags"], *([name] if study.compares else [])],
    }
    if on_the_hub := TEXTS["on_the_hub"].get(source):
        found["datasets"] = [on_the_hub]
    if data and metrics.values:
        result = {
            "task": {"type": purpose["task"]},
            "dataset": {"name": data["name"], "type": on_the_hub or data["name"], "split": "test"},
            "metrics": _hub_metrics(study, metrics, level),
        }
        found["model-index"] = [{"name": f"triptych-{name}", "results": [result]}]
    return found


def _hub_metrics(study: Study, metrics: Metrics, level: float | None) -> list[dict]:
    """Return the numbers as in the metrics file, intervals under `args`."""
    leaves, found = metrics.leaves(), []
    for row in rows(study, metrics):
        value = leaves[row.key]
        if isinstance(value, Estimate):
            args = value.interval | {"confidence_level": level}
            found.append({"type": row.key, "name": row.name, "value": value.value, "args": args})
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found.append({"type": row.key, "name": row.name, "value": value})
    return found


def _measures(study: Study, metrics: Metrics) -> Table:
    lines = [
        [row.name, row.value, row.interval, row.reference and f"{row.reference_name}: {row.reference}", row.meaning]
        for row in rows(study, metrics)
    ]
    return Table("Measures", ["measure", "value", "interval", "for comparison", "meaning"], lines)


def _yaml(tree: Mapping) -> str:
    return yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
