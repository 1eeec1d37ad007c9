"""Numbers that a page of Markdown quotes from a file of results, as links: `[94.5 %](metrics/vae.json#test_accuracy)`.

The part after # is a path of keys: of a list, a record's `id`, `t` or `seed`, or a position. A value may be followed by
its interval: `[94.5 % (94.1 to 94.8 %)](...)`; a word is a value of that spelling.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

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
    if not quote.file.is_file():
        return f"{quote.file}: no such file"
    tree = json.loads(quote.file.read_text(encoding="utf-8"))
    *above, last = quote.keys
    try:
        holder = follow(tree, above)
        value = follow(holder, [last])
    except (KeyError, IndexError, TypeError, ValueError, StopIteration):
        return f"{quote.file}: has no {'.'.join(quote.keys)}"
    expected = [value]
    if "(" in quote.says:
        interval = holder.get("intervals", {}).get(last) or holder.get("interval")
        if not interval:
            return f"{quote.file}: {'.'.join(quote.keys)} has no interval"
        expected += [interval["low"], interval["high"]]
    if isinstance(value, str):
        return "" if quote.says == value else f"{quote.file}: {'.'.join(quote.keys)} is {value}, not {quote.says}"
    said = NUMBER.findall(quote.says)
    percent = "%" in quote.says
    right = [written(number, like, percent) for number, like in zip(expected, said, strict=False)]
    if len(said) != len(expected) or said != right:
        return f"{quote.file}: {'.'.join(quote.keys)} is {', '.join(right)}, not {quote.says}"
    return ""


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
