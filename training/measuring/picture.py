"""The picture of a few texts, for a page that cannot show HTML, such as README."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from models.tokenizer import Encoding

_INK, _POSITIVE, _NEGATIVE, _WEIGHT = "#1f2933", "#1b7f5c", "#b3402e", "#b7791f"
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


def save_picture(examples: Sequence[Example], file: Path) -> None:
    """Save a PNG picture of texts."""
    with mpl.rc_context({"font.size": 10, "text.color": _INK}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # report.html shows these
        _draw(examples).savefig(file, dpi=110, bbox_inches="tight", metadata={"Software": None})


def _draw(examples: Sequence[Example]) -> Figure:
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
        axes.text(0, top, verdict, fontsize=10, fontweight="bold", va="center", parse_math=False)
        text = example.text.encode("utf-8", "replace").decode()  # matplotlib refuses a lone surrogate
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
            for position, character in enumerate(text[start:end]):
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
