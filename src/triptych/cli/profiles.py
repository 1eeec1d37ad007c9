"""Switching params.yaml between sets of numbers.

`default` is the newest committed params.yaml whose head says `# profile: default`. Every other profile is an overlay in
profiles/ that holds only what differs, each number with the reason. So profiles cannot drift apart: a number that they
share stands in one file. An overlay differs from default, or from the profile that its `base` names.
"""

import difflib
import re
import subprocess
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from triptych.core.errors import InputError
from triptych.core.files import write_text
from triptych.core.schema import overlaid, parse, read_yaml, replaces

DEFAULT = "default"
FOLDER = Path("profiles")
PARAMS = Path("params.yaml")
HERE = Path()
# `# profile: smoke. What it is for.`: the line of params.yaml that says which profile it holds.
LABEL = re.compile(r"^# profile: ([\w-]+)(?:\. (.*))?$", re.MULTILINE)
# Sections whose keys are the user's own, so that an overlay may add some; `null` leaves one of default's out.
OPEN = ("ssl.variants",)
BASE = "base"  # an overlay's key that names the profile it differs from


def names(root: Path = HERE) -> list[str]:
    """The profiles of the project in a folder, default first."""
    return [DEFAULT, *sorted(path.stem for path in (root / FOLDER).glob("*.yaml"))]


def purpose(name: str, root: Path = HERE) -> str:
    """What a profile is for: the comment at the head of its file; of default, the words after its name.

    Raises:
        InputError: see `default_text`; also no such profile.
    """
    if name == DEFAULT:
        return LABEL.search(default_text(root))[2] or ""
    head = []
    for line in _file(name, root).read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        head.append(line.lstrip("# ").rstrip())
    return " ".join(head)


def default_text(root: Path = HERE) -> str:
    """The newest committed params.yaml that says that it is the default profile.

    Raises:
        InputError: git does not run here, or there is no such commit.
    """
    for commit in _git(root, "log", "--format=%H", "--", PARAMS.name).split():
        text = _git(root, "show", f"{commit}:./{PARAMS.name}")
        label = LABEL.search(text)
        if label and label[1] == DEFAULT:
            return text
    raise InputError(
        f"profiles need a commit whose {PARAMS} says '# profile: {DEFAULT}', and git's history here has none "
        "(a shallow clone may lack it: git fetch --unshallow)"
    )


def default_tree(root: Path = HERE) -> dict:
    """The numbers of `default_text`.

    Raises:
        InputError: see `default_text`.
    """
    return parse(default_text(root), root / PARAMS)


def merged(name: str, root: Path = HERE) -> dict:
    """The whole of a profile's numbers: default's, with the overlay's in their places.

    Raises:
        InputError: see `default_text`; also no such profile, or an overlay with a key that default lacks.
    """
    return _over(default_tree(root), name, root)


def check(name: str, root: Path = HERE) -> dict:
    """`merged`, validated against the schema.

    Raises:
        InputError: one line that names the profile's file, the key, the value and what is allowed.
    """
    from triptych.params import validated

    tree = merged(name, root)
    validated(tree, root / PARAMS if name == DEFAULT else _file(name, root))
    return tree


def use(name: str, root: Path = HERE) -> dict:
    """Makes params.yaml the profile: default's text and comments with the overlay's lines in their places.

    Returns:
        The numbers now in params.yaml.

    Raises:
        InputError: the profile is wrong; params.yaml stays as it was.
    """
    tree = check(name, root)
    text = default_text(root)
    for layer in _layers(name, root):
        text = _spliced(text, _without_base(_file(layer, root).read_text(encoding="utf-8")))
    if name != DEFAULT:
        if _parsed(text) != tree:
            raise InputError(f"{_file(name, root)}: write it as {PARAMS} is written: block style, one key a line")
        label = f"# profile: {name}. {purpose(name, root)}".removesuffix(". ")
        text = LABEL.sub(lambda _: label, text, count=1)
    write_text(root / PARAMS, text)
    return tree


def active(root: Path = HERE) -> str | None:
    """The profile whose numbers params.yaml holds; None if it has numbers of its own.

    Raises:
        InputError: see `merged`; also no params.yaml.
    """
    tree, default = read_yaml(root / PARAMS), default_tree(root)
    return next((name for name in names(root) if _over(default, name, root) == tree), None)


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


def _file(name: str, root: Path) -> Path:
    """The file of an overlay."""
    known = names(root)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0)
        raise InputError(f"no profile '{name}'; did you mean '{near[0]}'? (allowed: {', '.join(known)})")
    return root / FOLDER / f"{name}.yaml"


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=True)
    except FileNotFoundError:
        raise InputError(f"profiles are read from git's history of {PARAMS}, and git is not on PATH") from None
    except subprocess.CalledProcessError as error:
        said = " ".join(error.stderr.decode(errors="replace").split())
        raise InputError(f"profiles are read from git's history of {PARAMS}, and git says: {said}") from None
    return done.stdout.decode("utf-8")


# Numbers --------------------------------------------------------------------------------------------------------------


def _over(default: dict, name: str, root: Path) -> dict:
    """Default's numbers with a profile's in their places."""
    tree = default
    for layer in _layers(name, root):
        path = _file(layer, root)
        overlay = {key: value for key, value in read_yaml(path).items() if key != BASE}
        _refuse_unknown(tree, overlay, path)
        tree = _without_left_out(overlaid(tree, overlay), tree, overlay)
    return tree


def _layers(name: str, root: Path) -> list[str]:
    """The overlays that make a profile, the one that differs from default first."""
    found: list[str] = []
    while name != DEFAULT:
        path = _file(name, root)
        if name in found:
            raise InputError(f"{path}: '{BASE}' goes round in a circle: {' -> '.join([*found, name])}")
        found.append(name)
        name = read_yaml(path).get(BASE, DEFAULT)
        if name not in names(root):
            raise InputError(f"{path}: '{BASE}' is '{name}', which is no profile (allowed: {', '.join(names(root))})")
    return found[::-1]


def _without_base(text: str) -> str:
    return re.sub(rf"^{BASE}:.*\n", "", text, flags=re.MULTILINE)


def _leaves_out(old: object, new: object) -> bool:
    """Whether an overlay's value leaves a section of default out, such as a variant: `null` in its place."""
    return new is None and isinstance(old, dict)


def _without_left_out(merged: dict, default: dict, overlay: dict) -> dict:
    """The merged numbers without what the overlay leaves out."""
    kept = {key: value for key, value in merged.items() if not _leaves_out(default.get(key), overlay.get(key, ...))}
    for key, new in overlay.items():
        if not replaces(default.get(key), new):
            kept[key] = _without_left_out(kept[key], default[key], new)
    return kept


def _refuse_unknown(base: dict, overlay: dict, path: Path, above: str = "") -> None:
    """Raises InputError at a key of the overlay that default lacks, but for what it replaces whole or may add."""
    if above.startswith(tuple(f"{section}." for section in OPEN)):
        return
    for key, new in overlay.items():
        if key not in base:
            near = difflib.get_close_matches(str(key), list(map(str, base)), n=1, cutoff=0)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise InputError(f"{path}: unknown key '{above}{key}'{hint} (an overlay holds only keys of default)")
        if not replaces(base[key], new):
            _refuse_unknown(base[key], new, path, f"{above}{key}.")


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
    # From the last line up, so that an edit moves no line of those to come. Where lines are added at the end of a
    # section and of the section around it, the outer ones come first here, and so end up below.
    edits = sorted(_edits(base, base.tree, new, new.tree), key=lambda edit: edit[:2], reverse=True)
    for start, end, lines in edits:
        base.lines[start:end] = lines
    return "\n".join(base.lines) + "\n"


Edit = tuple[int, int, list[str]]


def _edits(base: _Text, old: CommentedMap, new: _Text, overlay: CommentedMap) -> list[Edit]:
    """(first line, line after the last, lines instead) of every key that the overlay changes or adds."""
    edits = []
    added = [line for key in overlay if key not in old for line in _added(base, old, new, overlay, key)]
    if added:
        last = list(old)[-1]
        end = base.end(*base.start(old, last))
        edits.append((end, end, added))
    for key in overlay:
        if key not in old:
            continue
        if _leaves_out(old[key], overlay[key]):
            start, column = base.start(old, key)
            edits.append((start, base.end(start, column), []))
        elif replaces(old[key], overlay[key]):
            edits.append(_replacement(base, old, new, overlay, key))
        else:
            edits += _edits(base, old[key], new, overlay[key])
    return edits


def _added(base: _Text, old: CommentedMap, new: _Text, overlay: CommentedMap, key: str) -> list[str]:
    """The overlay's lines of a key that default lacks, indented as their neighbours there."""
    (_, column), (at, indent) = base.start(old, next(iter(old))), new.start(overlay, key)
    return [_shifted(line, column - indent) for line in new.lines[at : new.end(at, indent)]]


def _replacement(base: _Text, old: CommentedMap, new: _Text, overlay: CommentedMap, key: str) -> Edit:
    (start, column), (at, indent) = base.start(old, key), new.start(overlay, key)
    end, lines = base.end(start, column), new.lines[at : new.end(at, indent)]
    both_sections = isinstance(old[key], dict) and isinstance(overlay[key], dict)
    if both_sections and base.body(old, key) > start:
        # The section's heading, which says what it is for, stays.
        start, lines = base.body(old, key), lines[new.body(overlay, key) - at :]
    elif not re.search(r"\s#", lines[0]):
        lines = _with_comment(lines, base.lines[start:end])
    return start, end, [_shifted(line, column - indent) for line in lines]


def _with_comment(lines: list[str], replaced: list[str]) -> list[str]:
    """An overlay's value without a reason keeps the default's comment."""
    comment = re.search(r"\s+(#.*)$", replaced[0])
    if len(lines) != 1 or comment is None:
        return lines
    return [f"{lines[0].rstrip():<{comment.start(1) - 1}} {comment[1]}", *replaced[1:]]


def _shifted(line: str, by: int) -> str:
    return " " * by + line if by >= 0 else line.removeprefix(" " * -by)


def _parsed(text: str) -> dict | None:
    try:
        return parse(text, PARAMS)
    except InputError:
        return None
