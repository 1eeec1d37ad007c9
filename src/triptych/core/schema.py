"""Read and validate params.yaml. Defines the base class of its sections, and the section `runtime`."""

import difflib
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from triptych.core.errors import InputError


def _ordered(bounds: list[float]) -> list[float]:
    if bounds[0] > bounds[1]:
        raise ValueError("must be [low, high] with low <= high")
    return bounds


Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
InsideUnit = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Bounds = (Field(min_length=2, max_length=2), AfterValidator(_ordered))  # used as Annotated[list[Positive], *Bounds]


class Section(BaseModel):
    """Base class of the sections of params.yaml. Unknown keys and values of the wrong type are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, value: object) -> object:
        # pydantic's own error does not list the allowed keys.
        if isinstance(value, dict) and cls.model_config["extra"] == "forbid":
            allowed = sorted(cls.model_fields)
            for key in value:
                if key not in allowed:
                    raise PydanticCustomError("unknown_key", "unknown key", {"key": str(key), "allowed": allowed})
        return value


class Runtime(Section):
    """Section `runtime` of params.yaml: settings of all stages, such as device, precision and number of threads."""

    launch: Annotated[str, Field(min_length=1)]
    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["auto", "float32", "bfloat16"]
    threads: Annotated[int, Field(ge=0)]
    kernels: Literal["fast", "plain"] = "fast"
    compile: bool
    checkpoint_seconds: Positive


def read_yaml(path: Path) -> dict:
    """Read a YAML file that contains a mapping. Raises InputError if the file is missing or invalid."""
    try:
        return parse(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the command in the project's root folder") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 (byte {error.object[error.start]:#x} at position {error.start})") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def parse(text: str, path: Path) -> dict:
    """Parse a YAML 1.2 mapping. Raises InputError if `text` is invalid. The message begins with `path`."""
    try:
        tree = YAML(typ="safe").load(text)  # YAML 1.2, in which 5e-05 is a number
    except (YAMLError, ValueError) as error:  # an impossible date raises ValueError
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise InputError(f"{path}: not valid YAML ({line}{problem})") from None
    if not isinstance(tree, dict):
        raise InputError(f"{path}: expected a mapping of sections, got {type(tree).__name__}")
    return tree


def read(path: Path | str = "params.yaml", **sections: typing.Any) -> SimpleNamespace:
    """Return a namespace with validated sections of a params file. `sections` maps the names of sections to types."""
    path = Path(path)
    tree = read_yaml(path)
    missing = [name for name in sections if name not in tree]
    if missing:
        raise InputError(f"{path}: section '{missing[0]}' is missing")
    return SimpleNamespace(**{name: validate(schema, tree[name], name, path) for name, schema in sections.items()})


# Name of a value's section, "" for the whole file. For merged sections: a function of an entry's keys that returns it.
Where = str | Callable[[Sequence[str]], str]


def validate(schema: typing.Any, value: object, where: Where, path: Path) -> typing.Any:
    """Convert `value` to the type `schema`, which is a subclass of Section or another type that pydantic supports.

    Raises InputError if `value` is invalid. The message names the file `path`, the section, the key and the problem.
    `where` is the name of the section, or a function that returns the name from the keys of the invalid entry.
    """
    try:
        return TypeAdapter(schema).validate_python(value, strict=True)  # of YAML's ints and floats, ints pass as floats
    except ValidationError as error:
        problems = error.errors(include_url=False)
    # A misspelt key gives two errors: an unknown key and a missing one. The first is more helpful.
    problem = next((p for p in problems if p["type"] == "unknown_key"), problems[0])
    raise InputError(f"{path}: {_message(problem, value, where)}")


def _message(problem: Mapping, value: object, where: Where) -> str:
    error, given, context = problem["type"], problem["input"], problem.get("ctx", {})
    keys = _keys(value, problem["loc"], missing=error == "missing")
    if error in ("union_tag_invalid", "union_tag_not_found"):
        keys.append(context["discriminator"].strip("'"))
    elif error == "unknown_key":
        keys.append(context["key"])
    section = where if isinstance(where, str) else where(keys)
    name = ".".join([*([section] if section else []), *keys])
    if error == "unknown_key":
        return f"unknown key '{name}'{nearest(context['key'], context['allowed'])}"
    if error in ("missing", "union_tag_not_found"):
        return f"key '{name}' is missing"
    if error in ("literal_error", "union_tag_invalid", "enum"):
        expected = str(context.get("expected") or context.get("expected_tags"))
        allowed = [choice.strip(" '\"") for choice in expected.replace(" or ", ", ").split(",")]
        given = context.get("tag", given)
        return f"'{name}' is {given!r}: expected one of {', '.join(allowed)}{_did_you_mean(str(given), allowed, 0.6)}"
    if error in ("model_type", "model_attributes_type", "dict_type"):
        return f"'{name}' is {given!r}: expected a section with keys and values"
    text = problem["msg"].removeprefix("Value error, ")
    hint = " (quoted values are text: write 0.001, not '0.001')" if isinstance(given, str) and _is_number(given) else ""
    shown = "" if isinstance(given, dict) else f" is {given!r}"  # the message of a section's check names the keys
    if not name:  # so does the message of a check of the whole file
        return text
    return f"'{name}'{shown}: {text[0].lower()}{text[1:]}{hint}"


def _keys(value: object, location: tuple, missing: bool) -> list[str]:
    # A pydantic error location also contains the tags of unions, which are not keys of `value`.
    keys = []
    for step in location[:-1] if missing else location:
        if isinstance(value, list | tuple) or (isinstance(value, dict) and step in value):
            value = value[step]
            keys.append(str(step))
    return [*keys, str(location[-1])] if missing else keys


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def nearest(name: str, allowed: Sequence[str]) -> str:
    """Return the end of an error message: the allowed name most similar to `name`, and all allowed names."""
    return f"{_did_you_mean(name, allowed, 0)} (expected one of {', '.join(allowed)})"


def _did_you_mean(name: str, allowed: Sequence[str], cutoff: float) -> str:
    near = difflib.get_close_matches(name, allowed, n=1, cutoff=cutoff)
    return f"; did you mean '{near[0]}'?" if near else ""


def replaces(base: object, new: object) -> bool:
    """Return True if `new` replaces `base`: one is not a mapping, or `new` changes the value of the key "name"."""
    if not (isinstance(base, dict) and isinstance(new, dict)):
        return True
    return "name" in new and new["name"] != base.get("name")


def overlaid(base: dict, overlay: dict) -> dict:
    """Return a copy of `base` updated with `overlay`. Nested mappings are merged unless `replaces` returns True."""
    result = base.copy()  # keeps the comments of a mapping of ruamel.yaml
    for key, new in overlay.items():
        old = base.get(key)
        result[key] = overlaid(old, new) if isinstance(old, dict) and not replaces(old, new) else new
    return result
