"""Switching params.yaml between sets of numbers.

profiles/default.yaml is the whole commented file; every other profile is an overlay that holds only what differs, each
number with the reason. So profiles cannot drift apart: a number that they share stands in one file.
"""

import difflib
import re
from pathlib import Path

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from triptych.core.errors import InputError
from triptych.core.files import write_text
from triptych.core.schema import read_yaml, validate

DEFAULT = "default"
FOLDER = Path("profiles")
PARAMS = Path("params.yaml")


def names(folder: Path = FOLDER) -> list[str]:
    """The profiles in a folder, default first.

    Raises:
        InputError: there is no default profile, without which the others mean nothing.
    """
    found = sorted(path.stem for path in folder.glob("*.yaml"))
    if DEFAULT not in found:
        raise InputError(f"{folder / DEFAULT}.yaml: no such file; run from the project's root")
    return [DEFAULT, *(name for name in found if name != DEFAULT)]


def purpose(name: str, folder: Path = FOLDER) -> str:
    """What a profile is for: the comment at its head, or for `default` the last line of it."""
    head = []
    for line in _file(name, folder).read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        head.append(line.lstrip("# ").rstrip())
    if not head:
        return ""
    return head[-1] if name == DEFAULT else " ".join(head)


def merged(name: str, folder: Path = FOLDER) -> dict:
    """The whole of a profile's numbers: default's, with the overlay's in their places.

    Raises:
        InputError: no such profile, or an overlay with a key that default lacks.
    """
    path = _file(name, folder)
    default = read_yaml(_file(DEFAULT, folder))
    return default if name == DEFAULT else _overlaid(default, read_yaml(path), path)


def check(name: str, folder: Path = FOLDER) -> dict:
    """`merged`, validated against the schema.

    Raises:
        InputError: one line that names the profile's file, the key, the value and what is allowed.
    """
    from triptych.params import Params  # the whole schema costs more than listing names does

    tree = merged(name, folder)
    validate(Params, tree, "", _file(name, folder))
    return tree


def use(name: str, folder: Path = FOLDER, params: Path = PARAMS) -> dict:
    """Makes params.yaml the profile: default's text and comments with the overlay's lines in their places.

    Returns:
        The numbers now in params.yaml.

    Raises:
        InputError: the profile is wrong; params.yaml stays as it was.
    """
    tree = check(name, folder)
    text = _file(DEFAULT, folder).read_text(encoding="utf-8")
    if name != DEFAULT:
        path = _file(name, folder)
        text = _spliced(text, path.read_text(encoding="utf-8"))
        if _parsed(text) != tree:
            raise InputError(f"{path}: write it as {DEFAULT}.yaml is written: block style, one key a line")
    write_text(params, text)
    return tree


def active(folder: Path = FOLDER, params: Path = PARAMS) -> str | None:
    """The profile whose numbers params.yaml holds; None if it has numbers of its own."""
    tree = read_yaml(params)
    return next((name for name in names(folder) if merged(name, folder) == tree), None)


def differences(ours: dict, theirs: dict, above: str = "") -> list[str]:
    """The dotted keys whose values differ between two trees of params."""
    found = []
    for key in [*ours, *(key for key in theirs if key not in ours)]:
        one, other = ours.get(key), theirs.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            found += differences(one, other, f"{above}{key}.")
        elif one != other or (key in ours) != (key in theirs):
            found.append(f"{above}{key}")
    return found


def _file(name: str, folder: Path) -> Path:
    known = names(folder)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0)
        raise InputError(f"no profile '{name}'; did you mean '{near[0]}'? (allowed: {', '.join(known)})")
    return folder / f"{name}.yaml"


# Numbers --------------------------------------------------------------------------------------------------------------


def _replaces(base: object, new: object) -> bool:
    """Whether a value takes the other's place whole: it is no mapping, or a section of another `name`."""
    if not (isinstance(base, dict) and isinstance(new, dict)):
        return True
    return "name" in new and new["name"] != base.get("name")


def _overlaid(base: dict, overlay: dict, path: Path, above: str = "") -> dict:
    result = dict(base)
    for key, new in overlay.items():
        if key not in base:
            near = difflib.get_close_matches(str(key), list(map(str, base)), n=1, cutoff=0)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise InputError(f"{path}: unknown key '{above}{key}'{hint} (an overlay holds only keys of default.yaml)")
        old = base[key]
        result[key] = new if _replaces(old, new) else _overlaid(old, new, path, f"{above}{key}.")
    return result


# Text -----------------------------------------------------------------------------------------------------------------


class _Text:
    """A YAML file's lines, and where each key's lines are."""

    def __init__(self, text: str) -> None:
        self.lines = text.splitlines()
        self.tree: CommentedMap = YAML(typ="rt").load(text)

    def start(self, parent: CommentedMap, key: str) -> tuple[int, int]:
        """Line and column of a key."""
        return parent.lc.key(key)

    def end(self, line: int, column: int) -> int:
        """The line after a key's own: those that follow it, indented deeper, with no blank ones at the end."""
        end = line + 1
        for number in range(line + 1, len(self.lines)):
            content = self.lines[number].lstrip()
            if not content:
                continue
            if len(self.lines[number]) - len(content) <= column:
                break
            end = number + 1
        return end

    def body(self, parent: CommentedMap, key: str) -> int:
        """The first line of a section's content; the key's own line if its value stands there."""
        value = parent[key]
        return (
            value.lc.key(next(iter(value)))[0] if isinstance(value, CommentedMap) and value else parent.lc.key(key)[0]
        )


def _spliced(default: str, overlay: str) -> str:
    """The default's text with the overlay's lines, comments included, in the places of the keys they replace."""
    base, new = _Text(default), _Text(overlay)
    edits = sorted(_edits(base, base.tree, new, new.tree), key=lambda edit: edit[0], reverse=True)
    for start, end, lines in edits:
        base.lines[start:end] = lines
    return "\n".join(base.lines) + "\n"


def _edits(base: _Text, old: CommentedMap, new: _Text, overlay: CommentedMap) -> list[tuple[int, int, list[str]]]:
    """(first line, line after the last, lines instead) of every key that the overlay changes."""
    edits = []
    for key in overlay:
        if not _replaces(old[key], overlay[key]):
            edits += _edits(base, old[key], new, overlay[key])
            continue
        (start, column), (at, indent) = base.start(old, key), new.start(overlay, key)
        end, lines = base.end(start, column), new.lines[at : new.end(at, indent)]
        both_sections = isinstance(old[key], dict) and isinstance(overlay[key], dict)
        if both_sections and base.body(old, key) > start:
            # The section's heading, which says what it is for, stays.
            start, lines = base.body(old, key), lines[new.body(overlay, key) - at :]
        elif not re.search(r"\s#", lines[0]):
            lines = _with_comment(lines, base.lines[start:end])
        edits.append((start, end, [_shifted(line, column - indent) for line in lines]))
    return edits


def _with_comment(lines: list[str], replaced: list[str]) -> list[str]:
    """An overlay's value without a reason keeps the default's comment."""
    comment = re.search(r"\s+(#.*)$", replaced[0])
    if len(lines) != 1 or comment is None:
        return lines
    return [f"{lines[0].rstrip():<{comment.start(1) - 1}} {comment[1]}", *replaced[1:]]


def _shifted(line: str, by: int) -> str:
    return " " * by + line if by >= 0 else line.removeprefix(" " * -by)


def _parsed(text: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None
