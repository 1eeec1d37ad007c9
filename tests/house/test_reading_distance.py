"""Limits on what a reader must open: packages, lines of code, and the import closure of SimSiam's training.

Run as a script for the counts of every stage: python tests/house/test_reading_distance.py
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
PACKAGE = SOURCE / "triptych"
FAST = PACKAGE / "nn/fast"

# Limits on what a newcomer has to read. The total was 14,485 lines in 0.2.0; the limit allows for new methods and
# measures, which add about 150 lines each. Raise it only after looking for code to remove.
MOST_PACKAGES = 14
MOST_LINES = 15_500
SIMSIAM_FILES, SIMSIAM_LINES = 25, 3_000


def lines(paths: set[Path]) -> int:
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def imported(path: Path) -> Iterator[Path]:
    """Yield the modules of triptych that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        yield from (module for name in names if (module := SOURCE / f"{name.replace('.', '/')}.py").exists())


def closure(*paths: Path) -> set[Path]:
    """Return the files and every module of triptych that they import, directly or not, apart from nn/fast."""
    reached: set[Path] = set()
    waiting = list(paths)
    while waiting:
        path = waiting.pop()
        if path not in reached and FAST not in path.parents:
            reached.add(path)
            waiting += imported(path)
    return reached


def simsiam() -> set[Path]:
    return closure(ROOT / "stages/train_ssl.py", PACKAGE / "ssl/methods/simsiam.py")


def test_a_reader_of_simsiam_opens_few_files():
    files = simsiam()
    assert len(files) <= SIMSIAM_FILES, sorted(path.relative_to(ROOT).as_posix() for path in files)
    assert lines(files) <= SIMSIAM_LINES


def test_the_package_stays_small():
    packages = [path for path in PACKAGE.iterdir() if (path / "__init__.py").exists()]
    assert len(packages) <= MOST_PACKAGES
    assert lines({*PACKAGE.rglob("*.py"), *(ROOT / "stages").glob("*.py")}) <= MOST_LINES


if __name__ == "__main__":
    for script in sorted((ROOT / "stages").glob("*.py")):
        files = closure(script)
        print(f"{script.stem:24} {len(files):3} files {lines(files):6} lines")
    print(f"{'simsiam':24} {len(simsiam()):3} files {lines(simsiam()):6} lines")
    print(f"{'all':24} {len(list(PACKAGE.rglob('*.py'))):3} files {lines(set(PACKAGE.rglob('*.py'))):6} lines")
