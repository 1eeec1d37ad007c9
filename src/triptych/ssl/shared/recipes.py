"""Find the modules of the methods, and validate the settings of each variant."""

import pkgutil
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType

from triptych.core.errors import InputError
from triptych.core.schema import nearest, overlaid, replaces, validate
from triptych.ssl.shared.params import SSLParams, SSLRecipe, merged, recipe_layers

PACKAGE = "triptych.ssl.methods"
PARAMS = Path("params.yaml")


def names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(import_module(PACKAGE).__path__))


def method(name: str) -> ModuleType:
    """Return the module of the method `name`, with the settings class `Recipe` and the function `build`."""
    return import_module(f"{PACKAGE}.{name}")


def recipe(ssl: SSLParams, variant: str, path: Path = PARAMS) -> SSLRecipe:
    """Return the validated settings of a variant as an instance of the method's class `Recipe`.

    Raises InputError for invalid settings. The message names the file `path` and the section that contains the setting.
    """
    if variant not in ssl.variants:
        raise InputError(f"{path}: 'ssl.variants' has no '{variant}'{nearest(variant, ssl.variants)}")
    name = ssl.variants[variant].method
    if name not in names():
        raise InputError(f"{path}: 'ssl.variants.{variant}.method': unknown method '{name}'{nearest(name, names())}")
    if name not in ssl.methods:
        raise InputError(f"{path}: key 'ssl.methods.{name}' is missing")
    return validated(recipe_layers(ssl.model_dump(), variant), name, path)


def validated(layers: dict[str, dict], method_name: str, path: Path) -> SSLRecipe:
    """Merge the sections in `layers`, where later sections override earlier ones, and return validated settings."""
    return validate(method(method_name).Recipe, merged(layers), partial(_section_of, layers), path)


def _section_of(layers: dict[str, dict], keys: Sequence[str]) -> str:
    section = list(layers)[1]  # a key that is missing at the top belongs to the method
    for key in keys:
        setting, value = {}, None
        for name, layer in layers.items():
            if isinstance(layer, dict) and key in layer:
                new = layer[key]
                setting, value = ({}, new) if replaces(value, new) else (setting, overlaid(value, new))
                setting[name] = new
        if not setting:
            break
        section, layers = next(iter(setting)), setting
    return section
