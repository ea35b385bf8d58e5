"""Print predictions and bundles at a terminal."""

from collections.abc import Sequence
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from models.bundle.card import BundleCard
from service.local import FoundBundle

# From no weight to the heaviest, in the 256 colours of a terminal.
_SHADES = (
    "default on default",
    "black on color(230)",
    "black on color(222)",
    "black on color(215)",
    "black on color(208)",
)
_UNKNOWN = "underline"
_HEAVIEST = 5


def print_predictions(console: Console, texts: Sequence[str], predictions: Sequence[dict[str, Any]]) -> None:
    """Print each text with coloured tokens, its label and probability, and a legend at the end."""
    for text, prediction in zip(texts, predictions, strict=True):
        console.print(_headline(prediction))
        console.print(coloured(text, prediction), soft_wrap=False)
        console.print(_heaviest(prediction))
        for warning in prediction["warnings"]:
            console.print(Text(f"warning: {warning['message']}", style="yellow"))
        console.print()
    console.print(_legend())


def coloured(text: str, prediction: dict[str, Any]) -> Text:
    """Colour the tokens by weight relative to the heaviest, and dim the part that was not read."""
    shown = Text(_printable(text))
    tokens = prediction["tokens"]
    top = max(token["weight"] for token in tokens)
    for token in tokens:
        style = _shade(token["weight"] / top if top else 0.0)
        shown.stylize(style if token["known"] else f"{style} {_UNKNOWN}", token["start"], token["end"])
    if prediction["truncation"]["applied"]:
        shown.stylize("dim", tokens[-1]["end"])
    return shown


def print_bundles(console: Console, found: Sequence[FoundBundle]) -> None:
    """Print a table of the bundles in a folder, and below it the rejected ones with the reason."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("name", "version", "labels", "mechanism", "attention", "tokens", "accuracy"):
        justify: Literal["left", "right"] = "right" if heading in ("tokens", "accuracy") else "left"
        table.add_column(heading, justify=justify, no_wrap=heading != "labels")
    for card in (each.card for each in found if each.card is not None):
        measured = card.metrics.get(card.measured_on)
        accuracy = measured.get("accuracy") if isinstance(measured, dict) else None
        part = "" if card.measured_on == "test" else f" ({card.measured_on})"
        table.add_row(
            Text(card.name),
            card.version,
            Text(", ".join(card.labels)),
            card.mechanism,
            card.attention_is,
            str(card.max_tokens),
            f"{accuracy:.3f}{part}" if isinstance(accuracy, float) else "",
        )
    console.print(table)
    for each in found:
        if each.card is None:
            console.print(Text(f"{each.path.name}: {each.reason}", style="red"))
        else:
            say_what_weights_are_worth(console, each.card)


def say_what_weights_are_worth(console: Console, card: BundleCard) -> None:
    """Say that the weights of a bundle explain nothing, if that was found in training."""
    if card.attention_above_chance is False:
        message = f"{card.name}: the weights of this model are no better than chance as an explanation."
        console.print(Text(message, style="yellow"), soft_wrap=True)


def _headline(prediction: dict[str, Any]) -> Text:
    others = [f"{name} {score:.1%}" for name, score in prediction["scores"].items() if name != prediction["label"]]
    headline = Text(f"{prediction['label']} {prediction['probability']:.1%}", style="bold")
    return headline.append(f"  ({', '.join(others)})", style="not bold dim")


def _heaviest(prediction: dict[str, Any]) -> Text:
    """The heaviest tokens in text, for terminals without colours."""
    tokens = sorted(prediction["tokens"], key=lambda token: -token["weight"])[:_HEAVIEST]
    parts = []
    for token in tokens:
        share = "" if token["contribution"] is None else f" ({token['contribution']:+.2f})"
        parts.append(f"{_printable(token['text'])} {token['weight']:.2f}{share}")
    meaning = (
        "weight" if prediction["base_log_odds"] is None else f"weight, share of the log-odds of {prediction['target']}"
    )
    return Text(f"heaviest: {', '.join(parts)}  [{meaning}]", style="dim")


def _legend() -> Text:
    legend = Text("weight: ", style="dim")
    for words, style in zip(("none", "some", "more", "much", "most"), _SHADES, strict=True):
        legend.append(f" {words} ", style=f"not dim {style}")
    return legend.append("  ").append("not in the vocabulary", style=f"not dim {_UNKNOWN}")


def _shade(part: float) -> str:
    """Style for a weight that is `part`, 0 to 1, of the heaviest."""
    return _SHADES[min(int(part * len(_SHADES)), len(_SHADES) - 1)]


def _printable(text: str) -> str:
    """Replace every control character with U+FFFD, so that a text cannot control the terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)
