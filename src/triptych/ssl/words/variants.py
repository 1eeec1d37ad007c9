"""The variants of the third study: what they are called, how they are set up, and their colours in every figure."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle

from triptych.report.formatting import written
from triptych.ssl.shared.params import SharedRecipe, merged, recipe_layers

BASELINE, WIDE = "simsiam", "projector_4096"
NO_STOP_GRADIENT, NO_PREDICTOR = "no_stop_gradient", "no_predictor"
# What the rivals' claims and figures compare.
BARLOW, BYOL, DSSL, VICREG, ASYMSIAM = "barlow_twins", "byol", "dssl", "vicreg", "asymsiam"
BATCH_SIZES = ("barlow_small_batch", BARLOW, "barlow_large_batch")
DIMS = ("barlow_narrow", BARLOW, "barlow_wide")
HEAVY = {BASELINE: "simsiam_heavy", BYOL: "byol_heavy"}
NO_VARIANCE, NO_COVARIANCE = "vicreg_no_variance", "vicreg_no_covariance"
REVERSE, SYMMETRIC = "asymsiam_reverse", "asymsiam_symmetric"
# Sections of a recipe whose settings need their name in front.
PARTS = ("source", "target", "heavy")
# The report's projector outputs by variant; the widths of a short run stand for them.
REPORT_DIMS = {BASELINE: 2048, WIDE: 4096}
# Titles that are not the variant's name with spaces.
TITLES = {
    BASELINE: "SimSiam",
    NO_STOP_GRADIENT: "without stop-gradient",
    NO_PREDICTOR: "without predictor",
    WIDE: "wider projector",
    HEAVY[BASELINE]: "SimSiam (heavy views)",
    BARLOW: "Barlow Twins",
    "barlow_small_batch": "Barlow Twins (smaller batch)",
    "barlow_large_batch": "Barlow Twins (larger batch)",
    "barlow_narrow": "Barlow Twins (narrower)",
    "barlow_wide": "Barlow Twins (wider)",
    BYOL: "BYOL",
    HEAVY[BYOL]: "BYOL (heavy views)",
    DSSL: "DSSL",
    VICREG: "VICReg",
    NO_VARIANCE: "VICReg without variance",
    NO_COVARIANCE: "VICReg without covariance",
    ASYMSIAM: "AsymSiam",
    REVERSE: "AsymSiam (exchanged)",
    SYMMETRIC: "AsymSiam (symmetric)",
    "simclr": "SimCLR",
}
# Colours that colour-blind readers can tell apart: a method's, which its variants share, and those of the ablations of
# the report. Methods that are not named here take further colours in turn.
OWN_COLOURS = {BASELINE: "#0072B2", NO_STOP_GRADIENT: "#D55E00", NO_PREDICTOR: "#009E73", WIDE: "#CC79A7"}
METHOD_COLOURS = {
    BASELINE: OWN_COLOURS[BASELINE],
    BARLOW: "#56B4E9",
    VICREG: "#E69F00",
    BYOL: "#941112",
    DSSL: "#05096D",
    ASYMSIAM: "#664451",
    "simclr": "#000000",
}
COLOURS = ("#808000", "#3F51B5", "#8B0000", "#2E7D32", "#5F7A8C")
# A method's first variant is drawn solid, its further ones in these in turn.
DASHES = ((0, (5, 1.8)), (0, (1.2, 1.4)), (0, (6, 1.6, 1.2, 1.6)), (0, (2.6, 1.3)))


@dataclass(frozen=True)
class Settings:
    """An entry of ssl.variants.

    Attributes:
        method: whose recipe it has.
        own: what it sets besides: its differences from that recipe.
        recipe: the whole recipe: shared settings, the method's and the differences.
    """

    method: str
    own: Mapping
    recipe: Mapping

    @property
    def dim(self) -> int | None:
        """Size of the projector's output; None where the method has no projector."""
        return self.recipe.get("projector_dim")

    @property
    def described(self) -> str:
        """The differences in words; where there are none, the method's recipe: `projector output 512, symmetric`."""
        recipe = {key: value for key, value in self.recipe.items() if isinstance(value, str | int | float)}
        return described(self.own or {key: recipe[key] for key in recipe if key not in SharedRecipe.model_fields})


def variants(params: Mapping) -> dict[str, Settings]:
    """The entries of ssl.variants of params.yaml, in their order."""
    ssl = params.get("ssl") or {}
    found = {}
    for name, given in (ssl.get("variants") or {}).items():
        layers = recipe_layers(ssl, name)
        found[name] = Settings(given.get("method", ""), layers[f"ssl.variants.{name}"], merged(layers))
    return found


def described(settings: Mapping) -> str:
    """Settings in words: `crop scale 0.2 to 1, jitter 0.8`."""
    return ", ".join(_words(settings))


def title(variant: str) -> str:
    """What a variant is called."""
    return TITLES.get(variant, variant.replace("_", " "))


def lines(trained: Mapping[str, Settings]) -> dict[str, dict[str, object]]:
    """Return color and linestyle of each variant, for matplotlib; those that share a colour have dashes."""
    unknown = dict.fromkeys(entry.method for entry in trained.values() if entry.method not in METHOD_COLOURS)
    by_method = METHOD_COLOURS | dict(zip(unknown, cycle(COLOURS), strict=False))
    drawn: dict[str, dict[str, object]] = {}
    for name, entry in trained.items():
        colour = OWN_COLOURS.get(name, by_method[entry.method])
        alike = sum(line["color"] == colour for line in drawn.values())
        drawn[name] = {"color": colour, "linestyle": DASHES[(alike - 1) % len(DASHES)] if alike else "-"}
    return drawn


def metrics_path(variant: str) -> str:
    """The metrics file of a variant."""
    return f"metrics/ssl/{variant}.json"


def results_path(variant: str) -> str:
    """The arrays of a variant: which test images were classified correctly, and some views."""
    return f"evaluations/ssl/{variant}/results.npz"


def widths(params: Mapping) -> list[tuple[int, int]]:
    """(output of the projector in this run, the report's width that it stands for), where both are known."""
    trained = variants(params)
    pairs = [(trained[name].dim, report) for name, report in REPORT_DIMS.items() if name in trained]
    return [(here, report) for here, report in pairs if here]


def remark(params: Mapping) -> str:
    """How wide the projector's output is in this run and in the report; nothing where there is none."""
    told = [f"{here} dimensions" + ("" if here == of else f" where the report has {of}") for here, of in widths(params)]
    return f"The projector's output has {', and '.join(told)}." if told else ""


def _words(settings: Mapping, part: str = "") -> list[str]:
    """Settings in words; `part` names what they belong to, where their own names do not tell."""
    words = []
    for key, value in settings.items():
        name = part + {"projector_dim": "projector output", "stop_gradient": "stop-gradient"}.get(
            key, key.replace("_", " ")
        )
        if isinstance(value, Mapping):
            words += _words(value, f"{name} " if key in PARTS else part)
        elif isinstance(value, bool):
            words.append(name if value else f"no {name}")
        elif isinstance(value, list | tuple):
            words.append(f"{name} {' to '.join(written(entry, 'g') for entry in value)}")
        else:
            words.append(f"{name} {written(value, 'g' if isinstance(value, float) else '').replace('_', ' ')}")
    return words
