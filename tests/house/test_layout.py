"""Structure of the code: imports point downwards, names are specific, and loading a file never runs code from it."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "triptych"

# Packages that each package or top-level module can import. Imports point downwards.
STUDIES = {"vae", "ddpm", "ssl"}
READING = {"core", "measures", "report"}
ALLOWED = {
    "core": set(),
    "machine": {"core"},
    "data": {"core", "machine"},
    "nn": {"core", "machine"},
    "training": {"core", "machine", "data", "nn"},
    "measures": {"core", "machine", "data", "training"},
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
# Packages whose modules read results and load no models.
NO_TORCH = {"core", "report", "page", "studies"}
EMPTY_NAMES = {"util", "utils", "helper", "helpers", "misc", "common"}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def package_of(path: Path) -> str:
    """Return the package of a file: `judge` for src/triptych/judge/measure.py, `stages` for a stage script."""
    return "stages" if PACKAGE not in path.parents else path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(tree: ast.AST) -> set[str]:
    """Return the dotted names that a module imports anywhere in it; `from a import b` counts as a and as a.b."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def imported_packages(path: Path) -> set[str]:
    dotted = [name.split(".") for name in imported_modules(ast.parse(path.read_text(encoding="utf-8")))]
    packages = {name[1] for name in dotted if name[0] == "triptych" and len(name) > 1}
    return packages | {"stages" for name in dotted if name[0] == "stages"}


def test_imports_point_downwards():
    wrong = {}
    for path in sources("src/triptych", "stages"):
        package = package_of(path)
        if package != "__init__" and (upwards := imported_packages(path) - ALLOWED.get(package, set()) - {package}):
            wrong[path.relative_to(ROOT).as_posix()] = upwards
    assert wrong == {}
    left = dict(ALLOWED)
    while left:
        free = {package for package, needs in left.items() if not needs & left.keys() - {package}}
        assert free, f"a circle among {sorted(left)}"
        left = {package: needs for package, needs in left.items() if package not in free}


def test_a_method_imports_no_other_method_and_what_methods_share_imports_none():
    """Otherwise a change of one method would retrain other methods."""
    found = {
        path.relative_to(PACKAGE).as_posix(): names
        for path in sources("src/triptych/ssl")
        if (names := {name for name in imported_modules(ast.parse(path.read_text())) if "ssl.methods." in name})
    }
    assert found == {}


def test_packages_that_only_read_files_import_no_torch():
    found = [
        path.relative_to(ROOT).as_posix()
        for path in sources("src/triptych")
        if (package_of(path) in NO_TORCH or "words" in path.relative_to(PACKAGE).parts)
        and {name.split(".")[0] for name in imported_modules(ast.parse(path.read_text()))} & {"torch", "torchvision"}
    ]
    assert found == []


def test_modules_have_specific_names_and_docstrings():
    """Package files (__init__.py) below the root contain only a docstring."""
    assert [path for path in sources("src", "stages", "tests") if path.stem in EMPTY_NAMES] == []
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sources("src/triptych", "stages")}
    assert [path for path, tree in trees.items() if not ast.get_docstring(tree)] == []
    packages = {path: tree for path, tree in trees.items() if path.name == "__init__.py" and path.parent != PACKAGE}
    assert [path for path, tree in packages.items() if len(tree.body) > 1] == []
    folders = {path.parent for path in trees if PACKAGE in path.parents}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_no_placeholder_is_left_in_the_readme_and_the_page():
    for name in ("README.md", "plots/report.html"):
        assert re.findall(r"@[A-Z]+@", (ROOT / name).read_text(encoding="utf-8")) == [], name


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
