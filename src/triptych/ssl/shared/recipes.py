"""The recipe of a variant: what all share, under its method's, under its own; the later wins."""

import difflib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from triptych.core.errors import InputError
from triptych.core.overlay import overlaid, replaces
from triptych.core.schema import validate
from triptych.ssl.shared import methods
from triptych.ssl.shared.params import SSLParams, SSLRecipe

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
    if chosen.method not in methods.names():
        hint = _nearest(chosen.method, methods.names())
        raise InputError(f"{path}: 'ssl.variants.{variant}.method' is '{chosen.method}'{hint}")
    return _merged(study, chosen.method, [(f"ssl.variants.{variant}", chosen.overrides)], path)


def check(study: SSLParams, path: Path = PARAMS) -> None:
    """Every method's recipe, and every variant's.

    Raises:
        InputError: see `recipe`.
    """
    for name in study.methods:
        if name not in methods.names():
            raise InputError(f"{path}: unknown key 'ssl.methods.{name}'{_nearest(name, methods.names())}")
        _merged(study, name, [], path)
    for name in study.variants:
        recipe(study, name, path)


def _merged(study: SSLParams, method: str, own: Layers, path: Path) -> SSLRecipe:
    """The recipe of a method with a variant's own layer, if any, on top."""
    if method not in study.methods:
        raise InputError(f"{path}: key 'ssl.methods.{method}' is missing")
    layers = [("ssl.shared", study.shared.model_dump()), (f"ssl.methods.{method}", study.methods[method]), *own]
    merged: dict = {}
    for _, layer in layers:
        merged = overlaid(merged, layer)
    return validate(methods.method(method).Recipe, merged, partial(_place, layers), path)


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
