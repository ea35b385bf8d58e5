"""Batches of texts of about the same length, so that little of a batch is padding."""

from collections.abc import Iterator, Sequence

import numpy as np

from models.tokenizer import PAD_ID

# Widths are rounded up to this, so that a backend that compiles each shape has few to compile.
WIDTH_STEP = 32


def pad_batch(ids: Sequence[np.ndarray]) -> np.ndarray:
    """int32[tokens] each -> int32[texts, width], padded on the right to a multiple of `WIDTH_STEP`."""
    longest = max((len(one) for one in ids), default=0)
    batch = np.full((len(ids), max(1, -(-longest // WIDTH_STEP)) * WIDTH_STEP), PAD_ID, dtype=np.int32)
    for row, one in enumerate(ids):
        batch[row, : len(one)] = one
    return batch


def batches_by_length(lengths: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Positions of the texts, batch by batch from the shortest to the longest; each position stands once."""
    order = np.argsort(lengths, kind="stable")
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def shuffled_batches(
    lengths: np.ndarray, batch_size: int, generator: np.random.Generator, spread: float = 16.0
) -> Iterator[np.ndarray]:
    """Positions of the texts, batch by batch in random order; each position stands once.

    Texts within about `spread` tokens of length change batch-mates from one epoch to the next.
    """
    jittered = lengths + generator.uniform(-spread, spread, len(lengths))
    batches = batches_by_length(jittered, batch_size)
    for position in generator.permutation(len(batches)):
        yield batches[position]
