"""Sections of pages in docs/ that benchmarks write themselves: what stands between two comments."""

from pathlib import Path

from triptych.core.files import write_text


def write_section(page: Path, name: str, text: str) -> None:
    """Puts text between `<!-- name:begin -->` and `<!-- name:end -->`; a page without them gets them at its end."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before = page.read_text(encoding="utf-8") if page.exists() else ""
    section = f"{begin}\n{text.strip()}\n{end}"
    if begin in before and end in before:
        first, _, rest = before.partition(begin)
        write_text(page, first + section + rest.partition(end)[2])
    else:
        write_text(page, f"{before}\n{section}\n".lstrip("\n"))


def table(rows: list[list[str]]) -> str:
    """Rows of cells in Markdown, the first of them the heading."""
    heading, *others = (f"| {' | '.join(cells)} |" for cells in rows)
    return "\n".join([heading, "|---" * len(rows[0]) + "|", *others])
