"""The house holds: imports point downwards, names say something, and loading a file never runs code from it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "triptych"

# Each part of the package, and what it may import beside itself. A new part must be given its place here.
GROUND = {"errors", "files", "randomness"}
STUDY = GROUND | {"params", "data", "models", "objectives"}
ALLOWED = {
    **dict.fromkeys(GROUND, GROUND),
    "params": GROUND,
    "profiles": GROUND | {"params"},
    "data": GROUND | {"params"},
    "models": GROUND | {"params", "data"},
    "objectives": GROUND | {"params", "data", "models"},
    "training": STUDY,
    "evaluation": STUDY,
    "figures": GROUND | {"params", "data"},
    # The command line stands beside the stages: it may use anything but them, and nothing uses it.
    "diagnosis": {*STUDY, "profiles"},
    "terminal": {*STUDY, "figures", "profiles"},
    "cli": {*STUDY, "training", "evaluation", "figures", "profiles", "diagnosis", "terminal"},
    "__main__": {"cli"},
    "stages": {*STUDY, "training", "evaluation", "figures"},
}
EMPTY_NAMES = {"util", "utils", "helper", "helpers", "misc", "common"}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def part_of(path: Path) -> str:
    """`evaluation` for src/triptych/evaluation/judge.py, `errors` for src/triptych/errors.py, `stages` for a stage."""
    return "stages" if PACKAGE not in path.parents else path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(tree: ast.AST) -> set[str]:
    """Dotted names that a module imports, wherever in it; `from a import b` counts as a and as a.b."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def imported_parts(path: Path) -> set[str]:
    dotted = [name.split(".") for name in imported_modules(ast.parse(path.read_text()))]
    parts = {name[1] for name in dotted if name[0] == "triptych" and len(name) > 1}
    return parts | {"stages" for name in dotted if name[0] == "stages"}


@pytest.mark.parametrize("path", sources("src/triptych", "stages"), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards(path: Path):
    part = part_of(path)
    if part == "__init__":
        return  # a docstring only: see below
    assert part in ALLOWED, f"{part} has no place in the order of imports yet"
    assert imported_parts(path) <= ALLOWED[part] | {part}


def test_the_order_of_imports_has_no_circle():
    """Every part can be laid out so that it only imports parts before it."""
    left = {part: allowed - {part} - (GROUND if part in GROUND else set()) for part, allowed in ALLOWED.items()}
    while left:
        free = {part for part, needs in left.items() if not needs & left.keys()}
        assert free, f"a circle among {sorted(left)}"
        left = {part: needs for part, needs in left.items() if part not in free}


def test_file_names_say_what_is_inside():
    assert not [path for path in sources("src", "stages", "tests") if path.stem in EMPTY_NAMES]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=lambda path: path.parent.name)
def test_package_files_hold_a_docstring_only(path: Path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree) and len(tree.body) == 1


@pytest.mark.parametrize("path", sources("src/triptych"), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_is(path: Path):
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_nothing_runs_code_from_a_file():
    """No pickles, no torch.load that could unpickle, no evaluated strings, no arrays of objects."""
    found = []
    for path in sources("src", "stages"):
        tree = ast.parse(path.read_text())
        roots = {name.split(".")[0] for name in imported_modules(tree)}
        found += [
            f"{path}: {root}" for root in roots & {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "shelve"}
        ]
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            name, where = ast.unparse(call.func), f"{path}:{call.lineno}"
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            if name in ("eval", "exec", "compile", "yaml.load", "yaml.unsafe_load"):
                found.append(f"{where}: {name}")
            if name.endswith("torch.load") and given.get("weights_only") != "True":
                found.append(f"{where}: torch.load without weights_only=True")
            if given.get("allow_pickle", "False") != "False":
                found.append(f"{where}: {name} allows pickles")
    assert not found
