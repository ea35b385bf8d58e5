"""Scores that are right, or wrong in one known way."""

from collections.abc import Sequence

import numpy as np

from training.robustness.held_out import HELD_OUT
from training.robustness.probes import BAD, GOOD
from training.robustness.taught import TRAINING
from training.robustness.templates import every_example

TARGETS = {
    example.text: example.target for family in (TRAINING, HELD_OUT) for example in every_example(GOOD, BAD, family)
}


def oracle(texts: Sequence[str]) -> np.ndarray:
    """P(positive) of sentences from templates, as it should be."""
    return np.array([TARGETS[text] for text in texts])


def polarity(texts: Sequence[str]) -> np.ndarray:
    """P(positive) of a reader of single words, who prefers the good ones."""
    return np.array([0.9 if any(word in text for word in GOOD) else 0.2 for text in texts])
