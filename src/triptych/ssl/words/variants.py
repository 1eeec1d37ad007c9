"""Titles, settings, metrics and line styles of the variants and baselines in the SimSiam study."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from triptych.core.schema import read_yaml
from triptych.report.formatting import written
from triptych.report.reader import Metrics, Results, UnmeasuredError
from triptych.report.record import Model
from triptych.ssl.shared.params import SharedRecipe, merged, recipe_layers

SIMSIAM, WIDE = "simsiam", "projector_4096"
# Sections of a recipe whose name precedes their settings in descriptions.
NAMED_SECTIONS = ("source", "target", "heavy")
# Width of the projector's output in the report.
REPORT_DIMS = {SIMSIAM: 2048, WIDE: 4096}
_TEXTS = read_yaml(Path(__file__).with_name("variants.yaml"))
METHOD_COLOURS, OWN_COLOURS = _TEXTS["method_colours"], _TEXTS["variant_colours"]
# Baselines without training: prefix of their metrics, such as `pixel_knn_accuracy`, and name.
UNTRAINED, PIXELS = "random_init", "pixel"
BASELINES = {UNTRAINED: "untrained encoder", PIXELS: "pixels", "raw_pixel": "raw pixels"}
BASELINE_DASHES = {UNTRAINED: (0, (5, 2)), PIXELS: (0, (1.2, 1.6)), "raw_pixel": (0, (6, 1.8, 1.2, 1.8))}
# Line styles of variants with the same colour; the first variant has a solid line.
DASHES = ((0, (5, 1.8)), (0, (1.2, 1.4)), (0, (6, 1.6, 1.2, 1.6)), (0, (2.6, 1.3)))


@dataclass(frozen=True)
class Settings:
    """Settings of a variant: the `method`, the changed settings `own`, and the complete settings `recipe`."""

    method: str
    own: Mapping
    recipe: Mapping

    @property
    def dim(self) -> int | None:
        """The output width of the projector, or None if the settings do not contain it."""
        return self.recipe.get("projector_dim")

    @property
    def described(self) -> str:
        """The changed settings in words, such as `projector output 512`, or the method's settings if none changed."""
        recipe = {key: value for key, value in self.recipe.items() if isinstance(value, str | int | float)}
        settings = self.own or {key: recipe[key] for key in recipe if key not in SharedRecipe.model_fields}
        return ", ".join(_words(settings))


def variants(params: Mapping) -> dict[str, Settings]:
    """Return the settings of each variant, by name. `params` has the contents of params.yaml."""
    ssl = params.get("ssl") or {}
    entries = {}
    for name, given in (ssl.get("variants") or {}).items():
        layers = recipe_layers(ssl, name)
        entries[name] = Settings(given.get("method", ""), layers[f"ssl.variants.{name}"], merged(layers))
    return entries


def models(params: Mapping) -> list[Model]:
    """Return a Model for each variant in `params`, the contents of params.yaml."""
    return [
        Model(f"ssl/{name}", title(name), f"ssl@{name}", f"evaluate_ssl@{name}", settings.described)
        for name, settings in variants(params).items()
    ]


def title(variant: str) -> str:
    """Return the display name of a variant."""
    return _TEXTS["titles"].get(variant, variant.replace("_", " "))


def lines(trained: Mapping[str, Settings]) -> dict[str, dict[str, object]]:
    """Return the matplotlib color and linestyle of each variant. The first line of each color is solid."""
    unknown = dict.fromkeys(entry.method for entry in trained.values() if entry.method not in METHOD_COLOURS)
    by_method = METHOD_COLOURS | dict(zip(unknown, cycle(_TEXTS["other_colours"]), strict=False))
    drawn: dict[str, dict[str, object]] = {}
    for name, entry in trained.items():
        colour = OWN_COLOURS.get(name, by_method[entry.method])
        alike = sum(line["color"] == colour for line in drawn.values())
        drawn[name] = {"color": colour, "linestyle": DASHES[(alike - 1) % len(DASHES)] if alike else "-"}
    return drawn


def metrics_of(results: Results, name: str) -> Metrics:
    """Return the metrics of the variant `name`. Raises UnmeasuredError if params.yaml lacks this variant."""
    if name not in variants(results.params):
        hint = "; the profile full has it" if name in _TEXTS["titles"] else ""
        raise UnmeasuredError(f"ssl.variants in params.yaml has no {name}{hint}")
    return results.metrics(f"ssl/{name}")


def results_path(variant: str) -> str:
    """Return the path of the npz file with the evaluation arrays of a variant."""
    return f"evaluations/ssl/{variant}/results.npz"


def remark(params: Mapping) -> str:
    """Return a sentence that compares projector output widths in `params` and the report, or "" if there are none."""
    trained = variants(params)
    pairs = [(trained[name].dim, report) for name, report in REPORT_DIMS.items() if name in trained]
    texts = [
        f"{here} dimensions" + ("" if here == report else f" where the report has {report}")
        for here, report in pairs
        if here
    ]
    return f"The projector's output has {', and '.join(texts)}." if texts else ""


def _words(settings: Mapping, section: str = "") -> list[str]:
    words = []
    for key, value in settings.items():
        name = section + {"projector_dim": "projector output", "stop_gradient": "stop-gradient"}.get(
            key, key.replace("_", " ")
        )
        if isinstance(value, Mapping):
            words += _words(value, f"{name} " if key in NAMED_SECTIONS else section)
        elif isinstance(value, bool):
            words.append(name if value else f"no {name}")
        elif isinstance(value, list | tuple):
            words.append(f"{name} {' to '.join(written(entry, 'g') for entry in value)}")
        else:
            words.append(f"{name} {written(value, 'g' if isinstance(value, float) else '').replace('_', ' ')}")
    return words
