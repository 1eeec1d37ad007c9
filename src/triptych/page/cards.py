"""Model cards for the Hugging Face Hub: YAML front matter and Markdown. Identical runs produce identical cards."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import yaml

from triptych.core.errors import InputError
from triptych.core.files import write_text
from triptych.measures.estimate import Estimate
from triptych.page.build import TEMPLATES
from triptych.page.tables import measured, rows
from triptych.report.reader import Metrics, Results, value_at
from triptych.report.record import Model, Study
from triptych.ssl.words.variants import variants
from triptych.studies import STUDIES

FOLDER = Path("models/cards")
TEXTS = yaml.safe_load(Path(__file__).with_name("cards.yaml").read_text(encoding="utf-8"))


def write(results: Results) -> None:
    """Rewrite the folder of model cards, with one card per measured model."""
    cards = {model.name: render(results, model.name) for _, model, _ in measured(results)}
    folder = results.root / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, card in cards.items():
        write_text(folder / f"{name}.md", card)


def render(results: Results, name: str, files: Mapping[str, str] | None = None) -> str:
    """Return the card of a model (`classifier`, `vae`, `ddpm` or `ssl/<variant>`). Missing results are omitted.

    `files` maps the names of the files stored with the card to descriptions. None stands for the pipeline's files.
    """
    models = {model.name: (study, model) for study in STUDIES for model in study.models(results.params)}
    if name not in models:
        raise InputError(f"{results.root / 'params.yaml'}: no model '{name}'; expected one of {', '.join(models)}")
    study, model = models[name]
    purpose = TEXTS["studies"][study.slug]
    data = results.metrics("data").values.get(purpose["dataset"]) if results.has("metrics/data.json") else None
    metrics = results.metrics(name) if results.has(model.metrics) else Metrics(model.metrics, {})
    timing = results.timing(name) if results.has(model.timing) else Metrics(model.timing, {})
    level = value_at(results.params, "evaluation.confidence_level")
    return TEMPLATES.get_template("card.md.j2").render(
        front_matter=_yaml(_front_matter(study, model, purpose, data, metrics, level)),
        study=study,
        model=model,
        purpose=purpose,
        files=files,
        data=data,
        params=_yaml(settings(results.params, name)),
        seeds=[row.value("seed") for row in metrics.rows("seeds")] or [results.params.get("seed")],
        parameters=timing.value("parameters"),
        rows=rows(study, metrics),
        collapse=metrics.value("collapse_reason") if metrics.value("collapsed") else None,
        level=level,
    )


def settings(params: Mapping, name: str) -> dict:
    """Return the training settings of a model. For an encoder, these are its method and all settings of its variant."""
    if not name.startswith("ssl/"):
        return params.get(name) or {}
    variant = variants(params)[name.removeprefix("ssl/")]
    return {"method": variant.method, **variant.recipe}


def _front_matter(
    study: Study, model: Model, purpose: Mapping, data: Mapping | None, metrics: Metrics, level: float | None
) -> dict:
    """Return the front matter of a model card, as specified at https://huggingface.co/docs/hub/model-cards."""
    source = data["source"] if data else ""
    name = model.name.replace("/", "-")
    fields: dict = {"license": "mit"}
    if not source.startswith(tuple(TEXTS["free"])):
        fields = {"license": "other", "license_name": "mit-code-and-the-terms-of-the-data"}
    fields |= {
        "library_name": "triptych",
        "pipeline_tag": purpose["task"],
        "tags": ["triptych", *purpose["tags"], *([name] if study.compares else [])],
    }
    if on_the_hub := TEXTS["on_the_hub"].get(source):
        fields["datasets"] = [on_the_hub]
    if data and metrics.values:
        result = {
            "task": {"type": purpose["task"]},
            "dataset": {"name": data["name"], "type": on_the_hub or data["name"], "split": "test"},
            "metrics": _hub_metrics(study, metrics, level),
        }
        fields["model-index"] = [{"name": f"triptych-{name}", "results": [result]}]
    return fields


def _hub_metrics(study: Study, metrics: Metrics, level: float | None) -> list[dict]:
    """Return the unrounded metrics for the front matter. The field `args` of a metric holds its confidence interval."""
    leaves, numbers = metrics.leaves(), []
    for row in rows(study, metrics):
        value = leaves[row.metric.key]
        if isinstance(value, Estimate):
            args = value.interval | {"confidence_level": level}
            numbers.append({"type": row.metric.key, "name": row.metric.name, "value": value.value, "args": args})
        elif isinstance(value, int | float) and not isinstance(value, bool):
            numbers.append({"type": row.metric.key, "name": row.metric.name, "value": value})
    return numbers


def _yaml(tree: Mapping) -> str:
    return yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
