"""Pictures of a training run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from models.tokenizer import Encoding
from training.measuring.metrics import ReliabilityBin

_INK, _POSITIVE, _NEGATIVE, _WEIGHT, _GRID = "#1f2933", "#1b7f5c", "#b3402e", "#b7791f", "#d9dee4"
_LINE_CHARACTERS, _LINE_HEIGHT = 100, 1.45
_EXAMPLE_TOKENS = 130


@dataclass(frozen=True, slots=True)
class Example:
    """A text with its prediction; weights and contributions are float32[tokens]."""

    text: str
    truth: str
    label: str
    probability: float
    encoding: Encoding
    weights: np.ndarray
    contributions: np.ndarray | None


def write_report(
    folder: Path,
    *,
    history: Sequence[dict[str, Any]],
    counts: np.ndarray,
    label_names: Sequence[str],
    bins: Sequence[ReliabilityBin],
    examples: Sequence[Example],
) -> None:
    """Write curves.png, confusion.png, reliability.png and examples.png to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"font.size": 10, "axes.edgecolor": _INK, "text.color": _INK, "svg.fonttype": "none"}):
        _save(_curves(history), folder / "curves.png")
        _save(_confusion(counts, label_names), folder / "confusion.png")
        _save(_reliability(bins), folder / "reliability.png")
        _save(_examples(examples), folder / "examples.png")


def _save(figure: Figure, file: Path) -> None:
    figure.savefig(file, dpi=110, bbox_inches="tight", metadata={"Software": None})


def _plain(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)


def _curves(history: Sequence[dict[str, Any]]) -> Figure:
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    epochs = range(1, len(history) + 1)
    changes = [i + 0.5 for i in range(1, len(history)) if history[i]["phase"] != history[i - 1]["phase"]]
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        _plain(axes, name.capitalize())
        axes.plot(
            epochs, [one[f"train_{name}"] for one in history], "o--", color="#8795a1", label="train, with dropout"
        )
        axes.plot(epochs, [one[f"validation_{name}"] for one in history], "o-", color=_INK, label="validation")
        for change in changes:
            axes.axvline(change, color=_NEGATIVE, linewidth=0.8, linestyle=":")
        axes.set_xlabel("epoch (dotted: a new phase)" if changes else "epoch")
        axes.set_xticks(list(epochs))
        axes.legend(frameon=False)
    return figure


def _confusion(counts: np.ndarray, label_names: Sequence[str]) -> Figure:
    side = 2.2 + 0.8 * len(label_names)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_title("Test set", loc="left", fontsize=11, fontweight="bold")
    axes.set_xticks(range(len(label_names)), label_names)
    axes.set_yticks(range(len(label_names)), label_names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    for (row, column), share in np.ndenumerate(shares):
        axes.text(
            column,
            row,
            f"{counts[row, column]:,}\n{share:.1%}",
            ha="center",
            va="center",
            color="white" if share > 0.5 else _INK,
        )
    return figure


def _reliability(bins: Sequence[ReliabilityBin]) -> Figure:
    figure = Figure(figsize=(4.6, 4.6), layout="constrained")
    axes = figure.subplots()
    _plain(axes, "Reliability on the test set")
    axes.plot([0, 1], [0, 1], color="#8795a1", linestyle="--", linewidth=1, label="perfectly calibrated")
    texts = np.array([one.texts for one in bins])
    axes.plot([one.confidence for one in bins], [one.accuracy for one in bins], color=_INK, linewidth=1)
    axes.scatter(
        [one.confidence for one in bins],
        [one.accuracy for one in bins],
        s=12 + 220 * texts / texts.max(),
        color=_POSITIVE,
        label="bin (area: number of texts)",
    )
    low = max(0.0, min(one.confidence for one in bins) - 0.05)
    axes.set(xlim=(low, 1.01), ylim=(low, 1.01), xlabel="confidence", ylabel="accuracy")
    axes.legend(frameon=False, loc="upper left")
    return figure


def _examples(examples: Sequence[Example]) -> Figure:
    """Draw texts with each token shaded by its weight, green or red by the sign of its contribution.

    Without contributions there is one colour.
    """
    layouts = [_lines(example) for example in examples]
    height = sum(len({line for _, line, _ in layout}) + 2.2 for layout in layouts) * _LINE_HEIGHT
    figure = Figure(figsize=(11, 0.16 * height + 0.4))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-1, _LINE_CHARACTERS + 1), ylim=(height + 1, -1))
    axes.axis("off")
    top = 0.6
    for example, layout in zip(examples, layouts, strict=True):
        verdict = f"{example.label} {example.probability:.1%}  (marked {example.truth})"
        axes.text(0, top, verdict, fontsize=10, fontweight="bold", va="center")
        shades = example.weights / max(float(example.weights.max()), 1e-9)
        for token, line, column in layout:
            start, end = int(example.encoding.starts[token]), int(example.encoding.ends[token])
            row = top + (line + 1.1) * _LINE_HEIGHT
            colour = _colour(example, token)
            axes.add_patch(
                Rectangle(
                    (column, row - 0.6), end - start, 1.2, color=colour, alpha=0.75 * float(shades[token]), linewidth=0
                )
            )
            for position, character in enumerate(example.text[start:end]):
                axes.text(
                    column + position + 0.5, row, character, family="monospace", fontsize=9.5, ha="center", va="center"
                )
        top += (max(line for _, line, _ in layout) + 3.2) * _LINE_HEIGHT
    return figure


def _colour(example: Example, token: int) -> str:
    if example.contributions is None:
        return _WEIGHT
    return _POSITIVE if example.contributions[token] >= 0 else _NEGATIVE


def _lines(example: Example) -> list[tuple[int, int, int]]:
    """Lay out the tokens: (token, line, column) each, wrapped at white space."""
    places: list[tuple[int, int, int]] = []
    line = column = previous_end = 0
    for token in range(min(len(example.encoding.starts), _EXAMPLE_TOKENS)):
        start, end = int(example.encoding.starts[token]), int(example.encoding.ends[token])
        column += 1 if places and start > previous_end else 0
        if column + end - start > _LINE_CHARACTERS:
            line, column = line + 1, 0
        places.append((token, line, column))
        column += end - start
        previous_end = end
    return places
