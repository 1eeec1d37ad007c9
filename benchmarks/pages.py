"""Sections of pages that programs write: what stands between `<!-- name:begin -->` and `<!-- name:end -->`.

The first mark may say more behind its name, such as who writes what follows.
"""

import re
from pathlib import Path

from triptych.core.files import write_text


def read_section(page: Path, name: str) -> str:
    """What stands between the marks, without the lines' ends around it.

    Raises:
        ValueError: the page has no such section.
    """
    found = _marked(name).search(page.read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"{page}: has no section {name}")
    return found["text"].strip()


def write_section(page: Path, name: str, text: str) -> None:
    """Puts text between the marks; a page without them gets them at its end."""
    before = page.read_text(encoding="utf-8") if page.exists() else ""
    found = _marked(name).search(before)
    begin = found["begin"] if found else f"<!-- {name}:begin -->"
    section = f"{begin}\n{text.strip()}\n<!-- {name}:end -->"
    if found:
        write_text(page, before[: found.start()] + section + before[found.end() :])
    else:
        write_text(page, f"{before}\n{section}\n".lstrip("\n"))


def _marked(name: str) -> re.Pattern:
    return re.compile(
        rf"(?P<begin><!-- {re.escape(name)}:begin\b.*?-->)(?P<text>.*?)<!-- {re.escape(name)}:end -->", re.DOTALL
    )


def table(rows: list[list[str]]) -> str:
    """Rows of cells in Markdown, the first of them the heading."""
    heading, *others = (f"| {' | '.join(cells)} |" for cells in rows)
    return "\n".join([heading, "|---" * len(rows[0]) + "|", *others])
