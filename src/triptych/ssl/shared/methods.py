"""The methods by their names in params.yaml, which are those of their files in ssl/methods."""

import pkgutil
from importlib import import_module
from types import ModuleType

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
