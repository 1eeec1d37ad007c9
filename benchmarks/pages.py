"""Generated sections of pages, between `<!-- name:begin -->` and `<!-- name:end -->`.

The first mark can contain more text after the name, for example a note on the generator.
"""

import re
from pathlib import Path

from triptych.core.files import write_text


def read_section(page: Path, name: str) -> str:
    """Return the text between the marks. Raises ValueError if the page has no such section."""
    found = _marked(name).search(page.read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"{page}: no section {name}")
    return found["text"].strip()


def write_section(page: Path, name: str, text: str) -> None:
    """Replace the text between the marks, or append a new section to a page without them."""
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
    """Return a Markdown table. The first row is the heading."""
    heading, *others = (f"| {' | '.join(cells)} |" for cells in rows)
    return "\n".join([heading, "|---" * len(rows[0]) + "|", *others])
