"""Profiles: named sets of values for params.yaml.

The profile `default` is the newest committed params.yaml whose first line says `# profile: default`. Any other profile
is a file in profiles/, with only the values that differ from `default` or from the profile that its key `base` names.
Comments in the file give reasons for the values.
"""

import io
import re
import subprocess
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from triptych.core.errors import InputError
from triptych.core.files import write_text
from triptych.core.schema import nearest, overlaid, parse, read_yaml, replaces

DEFAULT = "default"
FOLDER = Path("profiles")
PARAMS = Path("params.yaml")
HERE = Path()
# The first line of params.yaml names its profile: `# profile: smoke. Its purpose.`
LABEL = re.compile(r"^# profile: ([\w-]+)(?:\. (.*))?$", re.MULTILINE)
BASE = "base"  # key of a profile file: the profile that its values are merged into
KNOB = re.compile(r"^#   ([\w.]+) = (.+?) {2,}(.*\n)", re.MULTILINE)  # a value that the head of default names
TOP_KEY = re.compile(r"^((?:#.*\n|\n)*)([\w-]+):", re.MULTILINE)  # a top-level key and the comments above it

Tree = dict[str, Any]


def names(root: Path = HERE) -> list[str]:
    """Return the names of all profiles, with `default` first. `root` is the project folder."""
    return [DEFAULT, *sorted(path.stem for path in (root / FOLDER).glob("*.yaml"))]


def purpose(name: str, root: Path = HERE) -> str:
    """Return the purpose of the profile `name`, as stated in the comment at the top of its file."""
    if name == DEFAULT:
        label = LABEL.search(default_text(root))
        return (label[2] if label else None) or ""
    head = re.match(r"(?:#.*\n)*", profile_file(name, root).read_text(encoding="utf-8"))
    return " ".join(line.strip("# ") for line in head[0].splitlines()) if head else ""


def default_text(root: Path = HERE) -> str:
    """Return the text of the newest committed params.yaml that is labelled `# profile: default`, read from git."""
    for commit in _git(root, "log", "--format=%H", "--", PARAMS.name).split():
        text = _git(root, "show", f"{commit}:./{PARAMS.name}")
        label = LABEL.search(text)
        if label and label[1] == DEFAULT:
            return text
    raise InputError(
        f"no commit has '# profile: {DEFAULT}' in {PARAMS}; in a shallow clone, run `git fetch --unshallow` first"
    )


def merged(name: str, root: Path = HERE, default: Tree | None = None) -> Tree:
    """Return all values of the profile `name`. If `default` is None, the default profile's values are read from git."""
    tree = parse(default_text(root), root / PARAMS) if default is None else default
    for path in _files(name, root):
        tree = _overlaid(tree, read_yaml(path))
    return tree


def check(name: str, root: Path = HERE) -> Tree:
    """Return all values of the profile `name`. Raises InputError if a value is invalid."""
    from triptych.params import validated

    tree = merged(name, root)
    validated(tree, root / PARAMS if name == DEFAULT else profile_file(name, root))
    return tree


def use(name: str, root: Path = HERE) -> Tree:
    """Write the values and comments of the profile `name` to params.yaml, and return the values.

    If the profile is invalid, InputError is raised and params.yaml is not changed.
    """
    tree, text = check(name, root), default_text(root)
    if name != DEFAULT:
        label = f"# profile: {name}. {purpose(name, root)}".removesuffix(". ")
        text = LABEL.sub(lambda _: label, _text(text, _files(name, root)), count=1)
        text = KNOB.sub(lambda line: _knob(line, tree), text)
    write_text(root / PARAMS, text)
    return tree


def active(root: Path = HERE) -> str | None:
    """Return the name of a profile with the same values as params.yaml, or None if there is none."""
    tree, default = read_yaml(root / PARAMS), parse(default_text(root), root / PARAMS)
    return next((name for name in names(root) if merged(name, root, default) == tree), None)


def profile_file(name: str, root: Path = HERE) -> Path:
    """Return the path profiles/<name>.yaml. Raises InputError if no profile has this name."""
    known = names(root)
    if name not in known:
        raise InputError(f"no profile '{name}'{nearest(name, known)}")
    return root / FOLDER / f"{name}.yaml"


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=True)
    except FileNotFoundError:
        raise InputError(f"git not found on PATH; profiles are read from the git history of {PARAMS}") from None
    except subprocess.CalledProcessError as error:
        reason = " ".join(error.stderr.decode(errors="replace").split())
        raise InputError(f"cannot read the git history of {PARAMS}: {reason}") from None
    return done.stdout.decode("utf-8")


def _files(name: str, root: Path) -> list[Path]:
    """Return the files that define the profile `name`. The files of its base profiles come first."""
    paths: list[Path] = []
    while name != DEFAULT:
        path = profile_file(name, root)
        if path in paths:
            raise InputError(f"{path}: circular '{BASE}': {' -> '.join(each.stem for each in [*paths, path])}")
        paths.append(path)
        name = read_yaml(path).get(BASE, DEFAULT)
        if name not in names(root):
            raise InputError(f"{path}: '{BASE}' names an unknown profile '{name}'{nearest(name, names(root))}")
    return paths[::-1]


def _overlaid(tree: Tree, overlay: Tree) -> Tree:
    """Return `tree` updated with `overlay`. Sections that are null in `overlay` are removed."""
    overlay.pop(BASE, None)
    return _without_nulled(overlaid(tree, overlay), tree, overlay)


def _without_nulled(tree: Tree, base: Tree, overlay: Tree) -> Tree:
    for key, new in overlay.items():
        old = base.get(key)
        if not isinstance(old, dict):
            continue
        if new is None:
            del tree[key]
        elif not replaces(old, new):
            _without_nulled(tree[key], old, new)
    return tree


def _text(default: str, overlays: list[Path]) -> str:
    """Merge the values and comments of the files `overlays` into the YAML text `default`, and return the new text."""
    ruamel = YAML(typ="rt")
    ruamel.width, ruamel.preserve_quotes = 4096, True
    ruamel.indent(mapping=2, sequence=4, offset=2)
    ruamel.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    # ruamel attaches comments above a section to the value before it, and would lose them with that value.
    above = {key: lines for lines, key in TOP_KEY.findall(default)}
    tree: Any = ruamel.load(TOP_KEY.sub(r"\2:", default))
    for path in overlays:
        overlay = ruamel.load(path.read_text(encoding="utf-8"))
        tree = _overlaid(tree, overlay)
        _explain(tree, overlay)
    written = io.StringIO()
    ruamel.dump(tree, written)
    return TOP_KEY.sub(lambda key: f"{above.get(key[2], '')}{key[2]}:", written.getvalue())


def _knob(line: re.Match[str], tree: Tree) -> str:
    """Return the comment line `line` with the value from `tree`, or an empty string if `tree` lacks the key."""
    value: Any = tree
    for key in line[1].split("."):
        if key not in value:
            return ""
        value = value[key]
    return f"#   {line[1]} = {value}".ljust(line.start(3) - line.start() - 1) + f" {line[3]}"


def _explain(tree: CommentedMap, overlay: CommentedMap) -> None:
    """Copy comments from `overlay` to the same keys in `tree`, replacing the comments there."""
    for key in overlay:
        if key in tree and isinstance(tree[key], CommentedMap) and tree[key] is not overlay[key]:
            tree[key].fa.set_block_style()  # a line per value has room for the reasons
            _explain(tree[key], overlay[key])
        elif key in tree and key in overlay.ca.items:
            tree.ca.items[key] = overlay.ca.items[key]
