"""The contract of an engine: token ids in, results out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

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


class Engine(Protocol):
    """Runs the forward pass of one bundle."""

    @property
    def buckets(self) -> Sequence[int]:
        """Padded lengths in tokens, in rising order: what a text costs, and which texts share a batch."""

    def warm(self) -> Iterator[None]:
        """Compile. After the first item every text has an answer; the rest makes answers faster."""

    def run(self, ids: Sequence[np.ndarray]) -> list[Result]:
        """Return the results of texts given as int32[tokens] each, in order. Called from several threads at once.

        Raises:
            ValueError: a text is longer than the largest bucket.
            RuntimeError: the engine is not warm, or closed.
        """

    def facts(self) -> Mapping[str, float]:
        """Return figures for the metrics by name, such as `retraces`."""

    def close(self) -> None:
        """Run nothing any more; a pass that is under way ends normally."""
