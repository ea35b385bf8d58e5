"""Print figures and warnings at a terminal."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from training.measuring.evaluate import Evaluation
from training.measuring.metrics import FIGURES, PARTS

_LABEL_FIGURES = ("precision", "recall", "f1")
_HEADING_CHARACTERS = 10


def print_evaluations(console: Console, evaluations: Sequence[Evaluation]) -> None:
    """Print the figures of bundles and the baselines beside them, those of each label, and the confusion if it fits.

    Args:
        console: where to print.
        evaluations: measured on the same part.
    """
    first = evaluations[0]
    table = _table(f"{PARTS[first.part]}, {first.metrics['texts']:,} texts", *FIGURES.values())
    for one in evaluations:
        mechanism = f" {one.card.mechanism}" if len(evaluations) > 1 else ""
        table.add_row(Text(f"{one.card.name} {one.card.version}{mechanism}"), *_row(one.metrics, *FIGURES))
    if first.baselines:
        majority, words = first.baselines["majority"], first.baselines["bag_of_words"]
        table.add_row(Text(f"always {majority['label']}"), *_row(majority, *FIGURES))
        table.add_row("bag of words", *_row(words, *FIGURES))
    console.print(table, "", _labels_of(first) if len(evaluations) == 1 else _labels_side_by_side(evaluations))
    if len(evaluations) == 1 and "confusion" in first.metrics:
        confusion = _confusion_of(first)
        if console.measure(confusion).maximum <= console.width:
            console.print("", confusion)


def print_warnings(console: Console, warnings: Sequence[str]) -> None:
    """Print each warning on a line of its own."""
    for warning in warnings:
        console.print(Text.assemble(("warning: ", "bold yellow"), warning), soft_wrap=True)


def _labels_of(one: Evaluation) -> Table:
    table = _table("Label", "precision", "recall", "F1", "texts")
    for name, figures in one.metrics["per_label"].items():
        table.add_row(Text(name), *_row(figures, *_LABEL_FIGURES), f"{figures['support']:,}")
    return table


def _confusion_of(one: Evaluation) -> Table:
    names = list(one.metrics["per_label"])
    table = _table("Texts of a label, given", *map(_short, names))
    for name, counts in zip(names, one.metrics["confusion"], strict=True):
        table.add_row(Text(name), *(f"{count:,}" for count in counts))
    return table


def _labels_side_by_side(evaluations: Sequence[Evaluation]) -> Table:
    table = _table("F1 of each label", "texts", *(one.card.name for one in evaluations))
    for name, figures in evaluations[0].metrics["per_label"].items():
        scores = [_number(one.metrics["per_label"].get(name, {}).get("f1")) for one in evaluations]
        table.add_row(Text(name), f"{figures['support']:,}", *scores)
    return table


def _table(first: str, *others: str) -> Table:
    """Make a table that fits 80 columns: only the texts of its first column wrap."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(Text(first), overflow="fold")
    for heading in others:
        table.add_column(Text(heading), justify="right", no_wrap=True)
    return table


def _short(name: str) -> str:
    return name if len(name) <= _HEADING_CHARACTERS else f"{name[: _HEADING_CHARACTERS - 1]}…"


def _row(figures: dict[str, Any], *names: str) -> list[str]:
    return [_number(figures.get(name)) for name in names]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
