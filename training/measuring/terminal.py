"""Print figures and warnings at a terminal."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from training.measuring.evaluate import Evaluation

_FIGURES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "auc": "AUC", "brier": "Brier", "ece": "ECE", "nll": "NLL"}
_LABEL_FIGURES = ("precision", "recall", "f1")
_MOST_LABELS_CONFUSED = 6
"""A terminal is too narrow for the confusion of more labels."""
_HEADING_CHARACTERS = 10


def print_evaluations(console: Console, evaluations: Sequence[Evaluation], *, over: str) -> None:
    """Print the figures of bundles and the baselines beside them, then those of each label.

    Args:
        console: where to print.
        evaluations: measured on the same texts.
        over: what the texts are called.
    """
    first = evaluations[0]
    table = _table(f"{over}, {first.metrics['texts']:,} texts", *_FIGURES.values())
    for one in evaluations:
        mechanism = f" {one.card.mechanism}" if len(evaluations) > 1 else ""
        table.add_row(Text(f"{one.card.name} {one.card.version}{mechanism}"), *_row(one.metrics, *_FIGURES))
    if first.baselines:
        majority, words = first.baselines["majority"], first.baselines["bag_of_words"]
        table.add_row(Text(f"always {majority['label']}"), *_row(majority, *_FIGURES))
        table.add_row("bag of words", *_row(words, *_FIGURES))
    console.print(table, "", _labels_of(first) if len(evaluations) == 1 else _labels_side_by_side(evaluations))


def print_warnings(console: Console, warnings: Sequence[str]) -> None:
    """Print each warning on a line of its own."""
    for warning in warnings:
        console.print(Text.assemble(("warning: ", "bold yellow"), warning), soft_wrap=True)


def _labels_of(one: Evaluation) -> Table:
    """Show precision, recall, F1 and support, and what a label's texts were taken for where there is room."""
    confusion = one.metrics.get("confusion", [])
    names = list(one.metrics["per_label"]) if 0 < len(confusion) <= _MOST_LABELS_CONFUSED else []
    table = _table("Label", "precision", "recall", "F1", "texts", *(f"as {_short(name)}" for name in names))
    for position, (name, figures) in enumerate(one.metrics["per_label"].items()):
        taken_for = [f"{count:,}" for count in confusion[position]] if names else []
        table.add_row(Text(name), *_row(figures, *_LABEL_FIGURES), f"{figures['support']:,}", *taken_for)
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
