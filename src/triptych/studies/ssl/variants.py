"""The variants of the third study: what they are called, how they are set up, and their colours in every figure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import cycle

from triptych.core.overlay import overlaid
from triptych.results.formatting import written

BASELINE, WIDE = "simsiam", "projector_4096"
NO_STOP_GRADIENT, NO_PREDICTOR = "no_stop_gradient", "no_predictor"
# The report's projector outputs by variant; the widths of a short run stand for them.
REPORT_DIMS = {BASELINE: 2048, WIDE: 4096}
# Titles that are not the variant's name with spaces.
TITLES = {
    BASELINE: "SimSiam",
    NO_STOP_GRADIENT: "without stop-gradient",
    NO_PREDICTOR: "without predictor",
    WIDE: "wider projector",
    "barlow_twins": "Barlow Twins",
    "vicreg": "VICReg",
    "byol": "BYOL",
    "dssl": "DSSL",
    "asymsiam": "AsymSiam",
    "simclr": "SimCLR",
}
# The report's four variants have colours of their own; the others take theirs in turn: all dark enough to write in.
OWN_COLOURS = {BASELINE: "#0072B2", NO_STOP_GRADIENT: "#D55E00", NO_PREDICTOR: "#009E73", WIDE: "#B5558F"}
COLOURS = ("#6A3D9A", "#B07D00", "#7A4B2A", "#00585C", "#C2185B", "#5F7A8C", "#808000", "#3F51B5", "#8B0000")


@dataclass(frozen=True)
class Settings:
    """An entry of ssl.variants.

    Attributes:
        method: whose recipe it has.
        own: what it sets besides: its differences from that recipe.
        recipe: the method's recipe with the differences in place.
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
        return ", ".join(_words(self.own or recipe))


def variants(params: Mapping) -> dict[str, Settings]:
    """The entries of ssl.variants of params.yaml, in their order."""
    ssl = params.get("ssl") or {}
    found = {}
    for name, given in (ssl.get("variants") or {}).items():
        own = {key: value for key, value in given.items() if key != "method"}
        recipe = (ssl.get("methods") or {}).get(given.get("method")) or {}
        found[name] = Settings(given.get("method", ""), own, overlaid(recipe, own))
    return found


def title(variant: str) -> str:
    """What a variant is called."""
    return TITLES.get(variant, variant.replace("_", " "))


def colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for each variant; the report's own four keep theirs whichever are there."""
    others = [name for name in names if name not in OWN_COLOURS]
    return OWN_COLOURS | dict(zip(others, cycle(COLOURS), strict=False))


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


def _words(settings: Mapping) -> list[str]:
    words = []
    for key, value in settings.items():
        name = {"projector_dim": "projector output", "stop_gradient": "stop-gradient"}.get(key, key.replace("_", " "))
        if isinstance(value, Mapping):
            words += _words(value)
        elif isinstance(value, bool):
            words.append(name if value else f"no {name}")
        else:
            words.append(f"{name} {written(value, 'g' if isinstance(value, float) else '').replace('_', ' ')}")
    return words
