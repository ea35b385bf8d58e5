"""Print robustness figures at a terminal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_TITLES = {
    "negation": "Templates: share read right",
    "sexes": "Women and men: mean P(positive)",
    "groups": "Groups of names: mean P(positive)",
    "apostrophes": "Spellings of the apostrophe",
    "length": "Amid neutral sentences, or repeated: share read right",
    "pairs": "Counterfactual pairs",
    "sentences": "Labelled texts",
}


def print_robustness(console: Console, measured: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Print a row for each figure, but for numbers of texts, and a column for each bundle, given by its heading."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", overflow="fold")
    for heading, _ in measured:
        table.add_column(Text(heading), justify="right", no_wrap=True)
    for section, title in _TITLES.items():
        columns = [dict(_rows(figures.get(section, {}))) for _, figures in measured]
        if any(columns):
            table.add_row(Text(title, style="bold"))
        for name in dict.fromkeys(name for column in columns for name in column):
            table.add_row(Text(f"  {name}"), *(_number(column.get(name)) for column in columns))
    console.print(table)


def _rows(figures: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, float]]:
    """Yield each number with the path of names that leads to it."""
    for name, value in figures.items():
        path = f"{above}, {name}" if above else name
        if isinstance(value, Mapping):
            yield from _rows(value, path)
        elif not isinstance(value, int):
            yield path, value


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
