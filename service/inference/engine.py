"""The contract of an engine, token ids in and results out, and the padding that engines share."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import numpy as np

from models.tokenizer import PAD_ID


@dataclass(frozen=True, slots=True)
class Result:
    """The outputs of a model for one text, padding cut off; the arrays are views into those of its batch.

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
        """Compile. After the first item every text has an answer; the rest makes answers faster.

        Called again, it goes on where it was left.
        """

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


def buckets_up_to(max_tokens: int, buckets: Sequence[int]) -> tuple[int, ...]:
    """Return the buckets that texts of 1 to `max_tokens` tokens need; the last one holds the longest text."""
    last = next((bucket for bucket in buckets if bucket >= max_tokens), max_tokens)
    return (*(bucket for bucket in buckets if bucket < last), last)


def bucket_of(tokens: int, buckets: Sequence[int]) -> int:
    """Return the smallest bucket that holds `tokens` tokens.

    Raises:
        ValueError: none does.
    """
    place = bisect_left(buckets, tokens)
    if place == len(buckets):
        raise ValueError(
            f"Expected at most {buckets[-1]} tokens, the largest bucket. Received {tokens}; "
            "cut the text to the max_tokens of its model."
        )
    return buckets[place]


def by_bucket(ids: Sequence[np.ndarray], buckets: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    """Yield each bucket that texts fall into, the largest first, and the places of its texts, the longest first.

    Raises:
        ValueError: a text is longer than the largest bucket.
    """
    places = sorted(range(len(ids)), key=lambda place: -len(ids[place]))
    for bucket, group in groupby(places, key=lambda place: bucket_of(len(ids[place]), buckets)):
        yield bucket, list(group)


def pad(ids: Sequence[np.ndarray], batch: int, tokens: int) -> np.ndarray:
    """Return int32[batch, tokens] of texts given as int32[tokens] each; rows beyond the texts are all padding."""
    padded = np.full((batch, tokens), PAD_ID, np.int32)
    for row, text in zip(padded, ids, strict=False):
        row[: len(text)] = text
    return padded


def results_of(outputs: Mapping[str, np.ndarray], ids: Sequence[np.ndarray]) -> list[Result]:
    """Cut the outputs of a padded batch, each [batch, ...] by its name, into one result for each text."""
    contributions = outputs.get("contributions")
    return [
        Result(
            logits=outputs["logits"][row],
            attention=outputs["attention"][row, : len(text)],
            contributions=None if contributions is None else contributions[row, : len(text)],
        )
        for row, text in enumerate(ids)
    ]
