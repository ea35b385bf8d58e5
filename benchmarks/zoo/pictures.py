"""Draw the token weights of every mechanism on the same review: a line per mechanism, a column per token."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from models.bundle.store import Bundle
from models.calibration import probabilities
from training.batches import pad_batch
from training.data.corpus import LabelledTexts

_INK, _GRID = "#1f2933", "#d9dee4"
_SHADES = LinearSegmentedColormap.from_list("weight", ["#ffffff", "#f2c879", "#b7791f", "#7b341e"])
_TOKENS = (24, 46)  # of a review, at least and at most


class Seen(NamedTuple):
    """Token weights float[tokens] of one mechanism, and its probability of the second label."""

    row: str
    weights: np.ndarray
    probability: float


def choose_reviews(bundle: Bundle, texts: LabelledTexts, count: int = 3) -> list[int]:
    """Choose short reviews: those the bundle is most sure of, one per label, and the one it is least sure of."""
    lengths = np.array([len(bundle.tokenizer.encode(text, bundle.card.max_tokens).ids) for text in texts.texts])
    short = np.flatnonzero((lengths >= _TOKENS[0]) & (lengths <= _TOKENS[1]))
    scores = np.array([see(bundle, "", texts.texts[position]).probability for position in short])
    order = short[np.argsort(scores, kind="stable")]
    unsure = short[np.abs(scores - 0.5).argmin()]
    return [int(order[-1]), int(order[0]), int(unsure)][:count]


def see(bundle: Bundle, row: str, text: str) -> Seen:
    """Return the prediction of the row's bundle for `text`."""
    ids = bundle.tokenizer.encode(text, bundle.card.max_tokens).ids
    outputs = {name: np.asarray(values) for name, values in bundle.model(pad_batch([ids])).items()}
    probability = float(probabilities(outputs["logits"], bundle.card.temperature)[0, 1])
    return Seen(row, outputs["attention"][0, : len(ids)], probability)


def draw(bundle: Bundle, text: str, truth: str, seen: Sequence[Seen], file: Path) -> None:
    """Draw one review; the darkest token of each line has its largest weight."""
    encoding = bundle.tokenizer.encode(text, bundle.card.max_tokens)
    words = [text[start:end] for start, end in zip(encoding.starts, encoding.ends, strict=True)]
    weights = np.stack([one.weights / one.weights.max() for one in seen])  # [rows, tokens]
    with mpl.rc_context({"font.size": 8, "axes.edgecolor": _GRID, "text.color": _INK}):
        figure = Figure(figsize=(0.235 * len(words) + 3.4, 0.2 * len(seen) + 1.3))
        axes = figure.add_subplot()
        axes.imshow(weights, cmap=_SHADES, vmin=0, vmax=1, aspect="auto")
        axes.set_yticks(range(len(seen)), [f"{one.row}  {one.probability:.0%}" for one in seen])
        axes.set_xticks(range(len(words)), words, rotation=60, ha="left", rotation_mode="anchor")
        axes.xaxis.tick_top()
        axes.tick_params(length=0, pad=2)
        axes.set_xticks(np.arange(len(words) - 1) + 0.5, minor=True)
        axes.set_yticks(np.arange(len(seen) - 1) + 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=0.8)
        axes.tick_params(which="minor", length=0)
        axes.set_xlabel(f"marked {truth}; next to each mechanism its probability of {bundle.card.labels[1]}")
        figure.savefig(file, dpi=80, bbox_inches="tight", metadata={"Software": None})
