"""The house holds: imports point downwards, names say something, and loading a file never runs code from it."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "triptych"

# What each package, and each module at the top, may import besides itself. Imports point downwards.
STUDIES = {"vae", "ddpm", "ssl"}
READING = {"core", "measures", "report"}
ALLOWED = {
    "core": set(),
    "machine": {"core"},
    "data": {"core", "machine"},
    "nn": {"core"},
    "training": {"core", "machine", "data", "nn"},
    "measures": {"core", "data"},
    "report": {"core", "measures"},
    "judge": {"core", "machine", "data", "nn", "training", "measures", "report"},
    **dict.fromkeys(STUDIES, {"core", "machine", "data", "nn", "training", "measures", "report", "judge"}),
    "studies": {"judge", *STUDIES, "report"},
    "params": {"core", "machine", "data", "measures", "report", "judge", *STUDIES},
    "page": READING | {"studies", *STUDIES},
    "cli": READING | {"machine", "data", "nn", "judge", "params", "studies", "page", *STUDIES},
    "__main__": {"cli"},
    "stages": {"core", "machine", "data", "nn", "training", "measures", "report", "judge", "studies", "page", *STUDIES},
}
# Packages whose modules read files, never models.
NO_TORCH = {"core", "report", "page", "studies"}
EMPTY_NAMES = {"util", "utils", "helper", "helpers", "misc", "common"}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def room_of(path: Path) -> str:
    """`measures` for src/triptych/judge/measure.py, `cli` for src/triptych/cli/app.py, `stages` for a stage."""
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


def imported_rooms(path: Path) -> set[str]:
    dotted = [name.split(".") for name in imported_modules(ast.parse(path.read_text(encoding="utf-8")))]
    rooms = {name[1] for name in dotted if name[0] == "triptych" and len(name) > 1}
    return rooms | {"stages" for name in dotted if name[0] == "stages"}


def test_imports_point_downwards():
    wrong = {}
    for path in sources("src/triptych", "stages"):
        room = room_of(path)
        if room != "__init__" and (upwards := imported_rooms(path) - ALLOWED.get(room, set()) - {room}):
            wrong[path.relative_to(ROOT).as_posix()] = upwards
    assert wrong == {}
    left = dict(ALLOWED)
    while left:
        free = {room for room, needs in left.items() if not needs & left.keys() - {room}}
        assert free, f"a circle among {sorted(left)}"
        left = {room: needs for room, needs in left.items() if room not in free}


def test_a_method_imports_no_other_method_and_what_methods_share_imports_none():
    """Otherwise a change of one method would train another again."""
    found = {
        path.relative_to(PACKAGE).as_posix(): names
        for path in sources("src/triptych/ssl")
        if (names := {name for name in imported_modules(ast.parse(path.read_text())) if "ssl.methods." in name})
    }
    assert found == {}


def test_whatever_reads_files_alone_needs_no_torch():
    found = [
        path.relative_to(ROOT).as_posix()
        for path in sources("src/triptych")
        if (room_of(path) in NO_TORCH or "words" in path.as_posix())
        and {name.split(".")[0] for name in imported_modules(ast.parse(path.read_text()))} & {"torch", "torchvision"}
    ]
    assert found == []


def test_files_say_what_is_inside():
    """By their name and in a docstring; those of packages hold nothing else."""
    assert [path for path in sources("src", "stages", "tests") if path.stem in EMPTY_NAMES] == []
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sources("src/triptych", "stages")}
    assert [path for path, tree in trees.items() if not ast.get_docstring(tree)] == []
    assert [path for path, tree in trees.items() if path.name == "__init__.py" and len(tree.body) > 1] == []
    folders = {path.parent for path in trees if PACKAGE in path.parents}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_nothing_runs_code_from_a_file():
    """No pickles, no torch.load that could unpickle, no evaluated strings, no arrays of objects."""
    found = []
    for path in sources("src", "stages"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
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
    assert found == []
