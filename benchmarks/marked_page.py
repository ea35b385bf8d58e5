"""Pages of the documentation, written by hand but for what a benchmark fills in, each part between two marks."""

from collections.abc import Mapping
from pathlib import Path

PLACE = "<!-- {} -->"


def fill(page: Path, parts: Mapping[str, str]) -> None:
    """Put each part between its two marks in `page`; all else is written by hand and stays.

    Raises:
        ValueError: the page lacks a mark.
    """
    text = page.read_text(encoding="utf-8")
    for name, part in parts.items():
        start, end = PLACE.format(name), PLACE.format(f"end of {name}")
        if text.count(start) != 1 or text.count(end) != 1:
            raise ValueError(f"{page}: expected {start} and {end} once each.")
        before, after = text.split(start)[0], text.split(end)[1]
        text = f"{before}{start}\n{part}\n{end}{after}"
    page.write_text(text, encoding="utf-8")
