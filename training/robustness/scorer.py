"""Ask a bundle how positive texts are."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from models.bundle.store import BundleCard, load_bundle
from training import DataError
from training.measuring.answers import answers_of

Score = Callable[[Sequence[str]], np.ndarray]
"""Returns the probability of the positive label: texts -> float64[texts]."""

_POSITIVE = ("positive", "pos", "1")


def load_scorer(path: Path, positive: str | None = None) -> tuple[BundleCard, str, Score]:
    """Load the bundle in folder `path`, to be asked for calibrated probabilities as the service gives them.

    Args:
        path: the bundle.
        positive: the label that is positive; None is the one named positive, pos or 1.

    Returns:
        The card, the name of the positive label, and what scores texts.

    Raises:
        BundleError: the bundle is invalid.
        DataError: it has not two labels, or none is known to be positive.
    """
    bundle = load_bundle(path)
    card = bundle.card
    column = positive_label(card, positive)
    answer = answers_of(bundle)
    return card, card.labels[column], lambda texts: answer(texts)[:, column]


def positive_label(card: BundleCard, positive: str | None) -> int:
    """Return the number of the positive label of a card.

    Raises:
        DataError: there are not two labels, or none is known to be positive.
    """
    if len(card.labels) != 2:
        raise DataError(f"{card.name}: expected two labels, one of them positive. Received {list(card.labels)}.")
    found = [label for label in card.labels if label == positive or (not positive and label.lower() in _POSITIVE)]
    if len(found) != 1:
        expected = f"a label {positive!r}" if positive else f"one label named {', '.join(_POSITIVE[:-1])} or 1"
        raise DataError(
            f"{card.name}: expected {expected}. Received {list(card.labels)}. "
            f"Say which is positive: --positive {card.labels[1]}."
        )
    return card.labels.index(found[0])
