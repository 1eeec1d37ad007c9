"""Quotes: numbers in Markdown that link to a file of results, as in `[94.5 %](metrics/vae.json#test_accuracy)`.

The part after # is the path of the value. In a list, a key is a record's `id`, `t`, `seed` or `epoch`, or a position. A
quote may include the interval, `[94.5 % (94.1 to 94.8 %)](...)`, or be a text.

Numbers of the rivals come from the archived run of the profile full in docs/full. Until that run is archived, quotes of
its files are not checked.

As a script it updates all quotes and generated tables of README and docs after another run:
`PYTHONPATH=src:. python tests/page/quotes.py`.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.pages import write_section
from triptych.page.tables import compared_tables, results_markdown, time_markdown
from triptych.page.verdicts import conditions_table, read_verdicts, verdicts_table
from triptych.report.reader import Results
from triptych.ssl.words.variants import variants

ROOT = Path(__file__).parents[2]
FULL = ROOT / "docs/full"

LINK = re.compile(r"\[([^\]]+)\]\(([^)#\s]+\.json)#([^)\s]+)\)")
NUMBER = re.compile(r"[-−]?\d[\d,]*(?:\.\d+)?")
NAMES = ("id", "t", "seed", "epoch")


class Quote(NamedTuple):
    """The text of a link, its file, and the keys of the value in it."""

    text: str
    file: Path
    keys: list[str]


def quotes(page: Path) -> Iterator[Quote]:
    """Yield the quotes of a page; files are relative to it."""
    for text, file, path in LINK.findall(page.read_text(encoding="utf-8")):
        if FULL in (page.parent / file).resolve().parents and not FULL.exists():
            continue
        yield Quote(" ".join(text.split()), page.parent / file, path.split("."))


def wrong(quote: Quote) -> str:
    """Return what is wrong with a quote, in one line; empty for a correct one."""
    try:
        right = corrected(quote)
    except ValueError as error:
        return str(error)
    name = f"{quote.file}: {'.'.join(quote.keys)}"
    return "" if quote.text == right else f"{name} is {', '.join(NUMBER.findall(right) or [right])}, not {quote.text}"


def corrected(quote: Quote) -> str:
    """Return the right text, with as many decimals as the quote has.

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
    if "(" in quote.text:
        interval = holder.get("intervals", {}).get(last) or holder.get("interval") or holder.get("range")
        if not interval:
            raise ValueError(f"{quote.file}: {'.'.join(quote.keys)} has no interval")
        expected += [interval["low"], interval["high"]]
    percent = "%" in quote.text or "points" in quote.text
    if len(NUMBER.findall(quote.text)) != len(expected):
        return ", ".join(written(number, "0.0", percent) for number in expected)
    right = iter(expected)
    return NUMBER.sub(lambda found: written(next(right), found.group(), percent), quote.text)


def written(number: float, like: str, percent: bool) -> str:
    """Write a number in the style of another: decimals, minus sign and thousands separator."""
    decimals = len(like.partition(".")[2])
    text = f"{number * 100 if percent else number:{',' if ',' in like else ''}.{decimals}f}"
    return text.replace("-", "−") if "−" in like else text


def follow(tree: object, keys: list[str]) -> object:
    """Return the value at a path of keys."""
    for key in keys:
        if isinstance(tree, list):
            named = [record for record in tree for name in NAMES if str(record.get(name)) == key]
            tree = named[0] if named else tree[int(key)]
        else:
            tree = tree[key]
    return tree


def rewritten(page: Path) -> str:
    """Return the page's text with correct quotes; quotes of missing values stay."""

    def put_right(link: re.Match) -> str:
        quote = Quote(" ".join(link[1].split()), page.parent / link[2], link[3].split("."))
        if not wrong(quote):
            return link[0]
        try:
            return f"[{corrected(quote)}]({link[2]}#{link[3]})"
        except ValueError:
            return link[0]

    return LINK.sub(put_right, page.read_text(encoding="utf-8"))


def runs_by_name() -> dict[str, Results]:
    """Return the runs of the table of verdicts: on drawn digits, with the rivals if docs/full exists, and docs/real."""
    drawn = {"full": Results(FULL)} if FULL.exists() else {"default": Results(ROOT)}
    return drawn | {"real": Results(ROOT / "docs/real"), "rivals": Results(ROOT / "docs/real/rivals")}


def rivals_markdown() -> str:
    """Return the table of the rivals in docs/full, in Markdown; a sentence if that run is not archived."""
    if not FULL.exists():
        return "No run of the profile `full` is archived yet."
    full, default = Results(FULL), variants(Results(ROOT).params)
    names = {f"ssl/{name}" for name in variants(full.params) if name not in default}
    return compared_tables(full, names)[0].without_last_column().markdown()


def tables(root: Path) -> None:
    """Write the generated tables into README and docs."""
    here = Results(root)
    readme, real = root / "README.md", root / "docs/real/README.md"
    write_section(readme, "results", results_markdown(here))
    write_section(readme, "conditions", conditions_table(read_verdicts(here)).markdown())
    write_section(readme, "rivals", rivals_markdown())
    write_section(real, "verdicts", verdicts_table(runs_by_name()).markdown())
    write_section(root / "docs/performance.md", "time", time_markdown(here))
    shown = subprocess.run(["dvc", "metrics", "show"], cwd=root, capture_output=True, text=True, check=True).stdout
    lines = "\n".join(line.rstrip() for line in shown.strip().splitlines())
    head, rest = readme.read_text(encoding="utf-8").split("$ dvc metrics show\n", 1)
    readme.write_text(f"{head}$ dvc metrics show\n{lines}\n```{rest.split('```', 1)[1]}", encoding="utf-8")


if __name__ == "__main__":
    tables(ROOT)
    for each in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        each.write_text(rewritten(each), encoding="utf-8")
