"""Pages of documentation with parts that a benchmark fills in, each between two marks."""

from collections.abc import Mapping
from pathlib import Path

MARK = "<!-- {} -->"


def fill(page: Path, parts: Mapping[str, str]) -> None:
    """Replace what is between the two marks of each part in `page`.

    Raises:
        ValueError: the page lacks a mark.
    """
    text = page.read_text(encoding="utf-8")
    for name, part in parts.items():
        start, end = MARK.format(name), MARK.format(f"end of {name}")
        if text.count(start) != 1 or text.count(end) != 1:
            raise ValueError(f"{page}: expected {start} and {end} once each.")
        before, after = text.split(start)[0], text.split(end)[1]
        text = f"{before}{start}\n{part}\n{end}{after}"
    page.write_text(text, encoding="utf-8")
