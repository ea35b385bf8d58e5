"""What an engine says of one text."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Result:
    """What a model says of one text, padding cut off; the arrays are views into those of its batch.

    Attributes:
        logits: float32[labels].
        attention: float32[tokens], at least 0, with the sum 1.
        contributions: float32[tokens], not divided by the temperature; None where they are not exact.
        finite: whether all of them are finite; None where nobody has looked.
    """

    logits: np.ndarray
    attention: np.ndarray
    contributions: np.ndarray | None
    finite: bool | None = None
