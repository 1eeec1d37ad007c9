"""Numbers that a page of Markdown quotes from a file of results, as links: `[94.5 %](metrics/vae.json#test_accuracy)`.

The part after # is a path of keys: of a list, a record's `id`, `t` or `seed`, or a position. A value may be followed by
its interval: `[94.5 % (94.1 to 94.8 %)](...)`; a word is a value of that spelling.

As a script it writes the quotes of README and docs anew, and their tables, from the files: after another run,
`PYTHONPATH=src:. python tests/report/quotes.py`.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.pages import write_section
from triptych.page.markdown import results_table, time_table, verdicts_table
from triptych.report.reader import Results

LINK = re.compile(r"\[([^\]]+)\]\(([^)#\s]+\.json)#([^)\s]+)\)")
NUMBER = re.compile(r"[-−]?\d[\d,]*(?:\.\d+)?")
NAMES = ("id", "t", "seed", "epoch")


class Quote(NamedTuple):
    """A link: what it says, of which file, and of which value in it."""

    says: str
    file: Path
    keys: list[str]


def quotes(page: Path) -> Iterator[Quote]:
    """Those of a page, files as seen from the page."""
    for says, file, path in LINK.findall(page.read_text(encoding="utf-8")):
        yield Quote(" ".join(says.split()), page.parent / file, path.split("."))


def wrong(quote: Quote) -> str:
    """What is wrong with a quote, in a line; empty if nothing is."""
    try:
        right = corrected(quote)
    except ValueError as error:
        return str(error)
    what = f"{quote.file}: {'.'.join(quote.keys)}"
    return "" if quote.says == right else f"{what} is {', '.join(NUMBER.findall(right) or [right])}, not {quote.says}"


def corrected(quote: Quote) -> str:
    """What the quote should say, with as many decimals as it has.

    Raises:
        ValueError: the file, the value or its interval is not there.
    """
    if not quote.file.is_file():
        raise ValueError(f"{quote.file}: no such file")
    tree = json.loads(quote.file.read_text(encoding="utf-8"))
    *above, last = quote.keys
    try:
        holder = follow(tree, above)
        value = follow(holder, [last])
    except (KeyError, IndexError, TypeError, ValueError, StopIteration):
        raise ValueError(f"{quote.file}: has no {'.'.join(quote.keys)}") from None
    if isinstance(value, str):
        return value
    expected = [value]
    if "(" in quote.says:
        interval = holder.get("intervals", {}).get(last) or holder.get("interval")
        if not interval:
            raise ValueError(f"{quote.file}: {'.'.join(quote.keys)} has no interval")
        expected += [interval["low"], interval["high"]]
    percent = "%" in quote.says
    if len(NUMBER.findall(quote.says)) != len(expected):
        return ", ".join(written(number, "0.0", percent) for number in expected)
    right = iter(expected)
    return NUMBER.sub(lambda found: written(next(right), found.group(), percent), quote.says)


def written(number: float, like: str, percent: bool) -> str:
    """A number with as many decimals as another that is written down, and its kind of minus and of thousands."""
    decimals = len(like.partition(".")[2])
    text = f"{number * 100 if percent else number:{',' if ',' in like else ''}.{decimals}f}"
    return text.replace("-", "−") if "−" in like else text


def follow(tree: object, keys: list[str]) -> object:
    """What lies below, one key after another."""
    for key in keys:
        if isinstance(tree, list):
            named = [record for record in tree for name in NAMES if str(record.get(name)) == key]
            tree = named[0] if named else tree[int(key)]
        else:
            tree = tree[key]
    return tree


def rewritten(page: Path) -> str:
    """The page's text with every quote as it should be; those of what is not there stay."""

    def put_right(link: re.Match) -> str:
        quote = Quote(" ".join(link[1].split()), page.parent / link[2], link[3].split("."))
        if not wrong(quote):
            return link[0]
        try:
            return f"[{corrected(quote)}]({link[2]}#{link[3]})"
        except ValueError:
            return link[0]

    return LINK.sub(put_right, page.read_text(encoding="utf-8"))


def tables(root: Path) -> None:
    """Writes the tables of results, of verdicts, of time and of `dvc metrics show` into the pages that have them."""
    here = Results(root)
    readme, real = root / "README.md", root / "docs/real/README.md"
    runs = {"default": here, "real": Results(real.parent), "rivals": Results(real.parent / "rivals")}
    write_section(readme, "results", results_table(here))
    write_section(real, "verdicts", verdicts_table(runs))
    write_section(root / "docs/performance.md", "time", time_table(here))
    shown = subprocess.run(["dvc", "metrics", "show"], cwd=root, capture_output=True, text=True, check=True).stdout
    lines = "\n".join(line.rstrip() for line in shown.strip().splitlines())
    head, rest = readme.read_text(encoding="utf-8").split("$ dvc metrics show\n", 1)
    readme.write_text(f"{head}$ dvc metrics show\n{lines}\n```{rest.split('```', 1)[1]}", encoding="utf-8")


if __name__ == "__main__":
    ROOT = Path(__file__).parents[2]
    tables(ROOT)
    for each in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        each.write_text(rewritten(each), encoding="utf-8")
