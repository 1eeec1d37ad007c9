"""The recipe of a variant: what all share, under its method's, under its own; the later wins."""

import difflib
import pkgutil
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType

from triptych.core.errors import InputError
from triptych.core.schema import overlaid, replaces, validate
from triptych.ssl.shared.params import SSLParams, SSLRecipe

PACKAGE = "triptych.ssl.methods"


def names() -> list[str]:
    """The methods there are; none of them is imported."""
    return sorted(module.name for module in pkgutil.iter_modules(import_module(PACKAGE).__path__))


def method(name: str) -> ModuleType:
    """The module of a method.

    It holds `Recipe`, the schema of the method's recipe (an SSLRecipe), and `build(recipe, in_channels)`, which makes
    the objective and the keyword arguments of its network.
    """
    return import_module(f"{PACKAGE}.{name}")


PARAMS = Path("params.yaml")
ABSENT = object()
# Sections of params.yaml, each with its name; the later overrides the earlier.
Layers = list[tuple[str, dict]]


def recipe(study: SSLParams, variant: str, path: Path = PARAMS) -> SSLRecipe:
    """The recipe of a variant, as its method's schema has it.

    Raises:
        InputError: there is no such variant or method, or the recipe is wrong; the message names the key where it
            stands in params.yaml: the variant's, else the method's, else the shared one.
    """
    if variant not in study.variants:
        raise InputError(f"{path}: 'ssl.variants' has no '{variant}'{_nearest(variant, study.variants)}")
    chosen = study.variants[variant]
    if chosen.method not in names():
        hint = _nearest(chosen.method, names())
        raise InputError(f"{path}: 'ssl.variants.{variant}.method' is '{chosen.method}'{hint}")
    return _merged(study, chosen.method, [(f"ssl.variants.{variant}", chosen.overrides)], path)


def check(study: SSLParams, path: Path = PARAMS) -> None:
    """Every method's recipe, and every variant's.

    Raises:
        InputError: see `recipe`.
    """
    for name in study.methods:
        if name not in names():
            raise InputError(f"{path}: unknown key 'ssl.methods.{name}'{_nearest(name, names())}")
        _merged(study, name, [], path)
    for name in study.variants:
        recipe(study, name, path)


def _merged(study: SSLParams, name: str, own: Layers, path: Path) -> SSLRecipe:
    """The recipe of a method with a variant's own layer, if any, on top."""
    if name not in study.methods:
        raise InputError(f"{path}: key 'ssl.methods.{name}' is missing")
    layers = [("ssl.shared", study.shared.model_dump()), (f"ssl.methods.{name}", study.methods[name]), *own]
    merged: dict = {}
    for _, layer in layers:
        merged = overlaid(merged, layer)
    return validate(method(name).Recipe, merged, partial(_place, layers), path)


def _place(layers: Layers, keys: Sequence[str]) -> str:
    """The layer that a key of the merged recipe comes from; of a missing key, the layer that its section comes from."""
    for end in range(len(keys), 0, -1):
        place, merged = "", {}
        for name, layer in layers:
            new = _at(layer, keys[:end])
            if new is not ABSENT and replaces(_at(merged, keys[:end]), new):
                place = name
            merged = overlaid(merged, layer)
        if _at(merged, keys[:end]) is not ABSENT:
            return place
    return layers[1][0]


def _at(tree: object, keys: Sequence[str]) -> object:
    for key in keys:
        if not isinstance(tree, dict) or key not in tree:
            return ABSENT
        tree = tree[key]
    return tree


def _nearest(name: str, allowed: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, allowed, n=1, cutoff=0)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"{hint} (allowed here: {', '.join(allowed)})"
