"""The Hub can read the model cards, and their numbers equal those of the metrics files."""

import json
from pathlib import Path

import pytest
import yaml

from triptych.core.errors import InputError
from triptych.page import cards, tables
from triptych.report.reader import Results
from triptych.studies import STUDIES

ROOT = Path(__file__).parents[2]
RUNS = {"here": Results(ROOT), "real": Results(ROOT / "docs/real")}


def models(results: Results) -> list[str]:
    return [model.name for _, model, _ in tables.measured(results)]


def front_matter(card: str) -> dict:
    opening, text, _ = card.split("---\n", 2)
    assert opening == ""
    return yaml.safe_load(text)


def number_at(metrics: dict, key: str) -> tuple[float, dict | None]:
    """Return a number of a metrics file by its dotted key, and its interval."""
    *above, last = key.split(".")
    for name in above:
        metrics = metrics[name]
    return metrics[last], metrics.get("intervals", {}).get(last)


@pytest.mark.parametrize("run", RUNS)
def test_every_number_of_a_card_is_the_metrics_files(run: str):
    results = RUNS[run]
    names = models(results)
    assert {"classifier", "vae", "ddpm", "ssl/simsiam"} <= set(names)
    for name in names:
        found = front_matter(cards.render(results, name))
        metrics = json.loads((results.root / f"metrics/{name}.json").read_text())
        (entry,) = found["model-index"]
        (result,) = entry["results"]
        assert result["metrics"], name
        for measured in result["metrics"]:
            value, interval = number_at(metrics, measured["type"])
            assert measured["value"] == value, (name, measured["type"])
            bounds = {key: measured.get("args", {}).get(key) for key in ("low", "high")} if interval else None
            assert bounds == interval, (name, measured["type"])


@pytest.mark.parametrize("run", RUNS)
def test_a_card_has_measures_data_licence_settings_and_misuse(run: str):
    results = RUNS[run]
    data = results.metrics("data").values
    for study in STUDIES:
        for model in study.models(results.params):
            card = cards.render(results, model.name)
            used = data["ssl" if study.compares else "generative"]
            assert f"{used['train_images']:,} training" in card and f"Licence: {used['licence']}".replace("'", "") in (
                card.replace("&#39;", "")
            )
            assert "Not intended for:\n\n- " in card
            settings = yaml.safe_load(card.split("```yaml\n")[1].split("```")[0])
            assert settings == cards.settings(results.params, model.name) and settings["training"]["epochs"] > 0
            for row in tables.rows(study, results.metrics(model.name)):
                cells = " | ".join(text.replace("|", "\\|") for text in (row.metric.name, row.value, row.interval))
                assert f"| {cells} |" in card, (model.name, row.metric.key)


def test_settings_of_an_encoder_merge_shared_method_and_variant():
    found = cards.settings(RUNS["here"].params, "ssl/no_predictor")
    assert (found["method"], found["predictor"], found["seeds"]) == ("simsiam", "none", 2)
    assert {"backbone", "views", "projector_dim", "training"} <= found.keys()


def test_a_collapsed_encoder_is_not_recommended():
    advice = "for nearest neighbours"
    collapsed = cards.render(RUNS["here"], "ssl/no_predictor")
    assert "has collapsed" in collapsed and advice not in collapsed
    healthy = cards.render(RUNS["here"], "ssl/simsiam")
    assert "has collapsed" not in healthy and advice in healthy


def test_the_licence_depends_on_the_data():
    assert front_matter(cards.render(RUNS["here"], "vae"))["license"] == "mit"
    assert front_matter(cards.render(RUNS["real"], "vae"))["license"] == "other"


def test_the_hub_reads_the_front_matter():
    hub = pytest.importorskip("huggingface_hub")
    for name in models(RUNS["here"]):
        card = hub.ModelCard(cards.render(RUNS["here"], name))
        metrics = RUNS["here"].metrics(name)
        assert card.data.license == "mit"
        assert {result.metric_type: result.metric_value for result in card.data.eval_results}.items() <= {
            key: getattr(value, "value", value) for key, value in metrics.leaves().items()
        }.items()


def test_the_folder_holds_measured_models_only_and_the_same_bytes_each_time(tmp_path: Path):
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    for name in ("vae", "ssl/simsiam", "data"):
        path = tmp_path / f"metrics/{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((ROOT / f"metrics/{name}.json").read_text())
    gone = tmp_path / cards.FOLDER / "ssl/gone.md"
    gone.parent.mkdir(parents=True)
    gone.write_text("")
    cards.write(Results(tmp_path))
    written = {path.name: path.read_bytes() for path in (tmp_path / cards.FOLDER).rglob("*.md")}
    assert set(written) == {"vae.md", "simsiam.md"}
    cards.write(Results(tmp_path))
    assert {path.name: path.read_bytes() for path in (tmp_path / cards.FOLDER).rglob("*.md")} == written


def test_an_unmeasured_model_has_a_card_without_numbers_and_an_unknown_one_none(tmp_path: Path):
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    card = cards.render(Results(tmp_path), "vae", {"encoder.onnx": "the encoder"})
    assert "model-index" not in front_matter(card)
    assert "## Measures" not in card and "- `encoder.onnx`: the encoder" in card
    with pytest.raises(InputError, match=r"no model 'gan'; expected one of classifier, vae, ddpm, ssl/simsiam"):
        cards.render(Results(tmp_path), "gan")
