"""Reading params.yaml, one typed section at a time, and saying in one line what is wrong with it."""

import difflib
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from ruamel.yaml import YAML, YAMLError

from triptych.core.errors import InputError


class Section(BaseModel):
    """A part of params.yaml. Unknown keys and wrong types are errors; no defaults: every number is in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def read_yaml(path: Path) -> dict:
    """The mapping in a YAML file.

    Raises:
        InputError: the file is missing, cannot be read, is not YAML, or does not hold a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run from the project's root") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8: byte {error.object[error.start]:#x} at {error.start}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    return parse(text, path)


def parse(text: str, path: Path) -> dict:
    """The mapping in the text of a YAML file, as DVC reads it: YAML 1.2, where 5e-05 is a number and 010 is ten.

    Raises:
        InputError: it is not YAML, or no mapping, or has a key twice; the message names the file, and the line.
    """
    try:
        tree = YAML(typ="safe").load(text)
    except (YAMLError, ValueError) as error:  # a date that does not exist is a ValueError
        raise InputError(f"{path}: not valid YAML ({_problem_of(error)})") from None
    if not isinstance(tree, dict):
        raise InputError(f"{path}: expected a mapping of sections, found {type(tree).__name__}")
    return tree


def _problem_of(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    line = f"line {mark.line + 1}: " if mark else ""
    return line + " ".join(str(getattr(error, "problem", None) or error).split())


# The section of the file that a value stands in, "" for the whole file; or, for a value that is made of several
# sections, the function from the keys of a part to the section that the part stands in.
Where = str | Callable[[Sequence[str]], str]


def validate(kind: typing.Any, value: object, where: Where, path: Path) -> typing.Any:
    """`value` as `kind` (a Section class or any type pydantic knows).

    Args:
        kind: what the value must be.
        value: as read from the file.
        where: the section of the file that it stands in, for messages.
        path: the file, for messages.

    Raises:
        InputError: one line that names the key, the value, what is allowed and the nearest valid name.
    """
    adapter = TypeAdapter(kind)
    try:
        # Numbers arrive from YAML as int or float; strict mode takes an int for a float and nothing looser.
        return adapter.validate_python(value, strict=True)
    except ValidationError as error:
        raise InputError(f"{path}: {_first_problem(error, kind, where)}") from None


def read(path: Path | str = "params.yaml", **sections: typing.Any) -> SimpleNamespace:
    """The named top-level sections of a params file, validated: `read(seed=int, vae=VAEParams).vae.latents`.

    Raises:
        InputError: a section is missing, or wrong in a way that the message names.
    """
    path = Path(path)
    tree = read_yaml(path)
    missing = [name for name in sections if name not in tree]
    if missing:
        raise InputError(f"{path}: section '{missing[0]}' is missing")
    return SimpleNamespace(**{name: validate(kind, tree[name], name, path) for name, kind in sections.items()})


def _first_problem(error: ValidationError, kind: typing.Any, where: Where) -> str:
    problems = error.errors(include_url=False)
    # A misspelt key is unknown, and its right spelling missing: the first says more.
    problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    # Discriminated unions add their tag to the location; it is not a key of the file.
    location = _keys_of(kind, problem["loc"])
    section = where if isinstance(where, str) else where(location)
    key = ".".join([*([section] if section else []), *location])
    if problem["type"] == "extra_forbidden":
        allowed = _field_names_at(kind, problem["loc"][:-1])
        near = difflib.get_close_matches(str(problem["loc"][-1]), allowed, n=1, cutoff=0)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        return f"unknown key '{key}'{hint} (allowed here: {', '.join(sorted(allowed))})"
    if problem["type"] == "missing":
        return f"key '{key}' is missing"
    if problem["type"] == "union_tag_not_found":
        return f"key '{key}.{_tag_of(problem)}' is missing"
    if problem["type"] in ("literal_error", "union_tag_invalid", "enum"):
        allowed = str(problem.get("ctx", {}).get("expected") or problem.get("ctx", {}).get("expected_tags"))
        names = [name.strip(" '\"") for name in allowed.replace(" or ", ", ").split(",")]
        value = problem["input"]
        if problem["type"] == "union_tag_invalid":
            key, value = f"{key}.{_tag_of(problem)}", problem["ctx"]["tag"]
        near = difflib.get_close_matches(str(value), names, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        return f"'{key}' is {value!r}: allowed are {', '.join(names)}{hint}"
    return f"'{key}'{_shown(problem['input'])}: {_message(problem)}"


def _tag_of(problem: dict) -> str:
    """The key that says which member of a union a section is."""
    return problem["ctx"]["discriminator"].strip("'")


def _shown(value: object) -> str:
    """A wrong value, unless it is a whole section: the message then names the keys that disagree."""
    return "" if isinstance(value, dict) else f" is {value!r}"


def _message(problem: dict) -> str:
    """What is allowed instead."""
    if problem["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return "a section of keys and values belongs here"
    message = problem["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if isinstance(problem["input"], str) and _reads_as_number(problem["input"]):
        message += " (quotes make it text: write 0.001, not '0.001')"
    return message


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _models_of(kind: typing.Any) -> list[type[BaseModel]]:
    """The Section classes that an annotation can stand for."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [model for argument in typing.get_args(kind) for model in _models_of(argument)]


def _walk(kind: typing.Any, location: tuple) -> typing.Iterator[tuple[object, typing.Any]]:
    """Each step of an error's location, with the annotation it leads to; a union's tag leads nowhere."""
    for step in location:
        if typing.get_origin(kind) is dict:
            kind = typing.get_args(kind)[1]
            yield step, kind
            continue
        if typing.get_origin(kind) in (list, tuple):
            kind = typing.get_args(kind)[0]
            yield step, kind
            continue
        for model in _models_of(kind):
            if step in model.model_fields:
                kind = model.model_fields[step].annotation
                yield step, kind
                break
        else:
            tagged = [m for m in _models_of(kind) if step in _tags_of(m)]
            if tagged and len(_models_of(kind)) > 1:
                kind = tagged[0]
            else:
                yield step, kind


def _tags_of(model: type[BaseModel]) -> set[object]:
    return {value for field in model.model_fields.values() for value in typing.get_args(field.annotation)}


def _keys_of(kind: typing.Any, location: tuple) -> list[str]:
    # pydantic marks an error of a mapping's key itself by "[key]".
    return [str(step) for step, _ in _walk(kind, location) if step != "[key]"]


def _field_names_at(kind: typing.Any, location: tuple) -> list[str]:
    for step in location:
        steps = list(_walk(kind, (step,)))
        kind = steps[-1][1] if steps else next(m for m in _models_of(kind) if step in _tags_of(m))
    return [name for model in _models_of(kind) for name in model.model_fields]


Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
InsideUnit = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]


class Runtime(Section):
    """Where and how the stages run."""

    launch: Annotated[str, Field(min_length=1)]
    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["auto", "float32", "bfloat16"]
    threads: Annotated[int, Field(ge=0)]
    compile: bool
    checkpoint_seconds: Positive


def replaces(base: object, new: object) -> bool:
    """Whether a value takes the other's place whole: one of them is no mapping, or `new` is of another `name`."""
    if not (isinstance(base, dict) and isinstance(new, dict)):
        return True
    return "name" in new and new["name"] != base.get("name")


def overlaid(base: dict, overlay: dict) -> dict:
    """`base` with the overlay's values in their places, at any depth; neither is changed."""
    result = base.copy()  # keeps the comments of a mapping of ruamel.yaml
    for key, new in overlay.items():
        old = base.get(key)
        result[key] = new if replaces(old, new) else overlaid(old, new)
    return result
