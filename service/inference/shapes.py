"""The closed set of padded shapes that an engine compiles, and which of them a list of texts is run in."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from math import inf
from typing import NamedTuple


class Shape(NamedTuple):
    """ids int32[batch, tokens] of one forward pass, padding included."""

    batch: int
    tokens: int


def token_buckets_for(max_tokens: int, token_buckets: Sequence[int]) -> tuple[int, ...]:
    """The buckets that texts of 1 to `max_tokens` tokens need: those below it, and one that holds the longest text.

    Args:
        max_tokens: tokens that the model reads of a text, at most.
        token_buckets: padded lengths, in rising order.
    """
    below = tuple(bucket for bucket in token_buckets if bucket < max_tokens)
    last = next((bucket for bucket in token_buckets if bucket >= max_tokens), max_tokens)
    return (*below, last)


def bucket_of(tokens: int, token_buckets: Sequence[int]) -> int:
    """The smallest bucket that holds `tokens` tokens.

    Raises:
        ValueError: none does.
    """
    place = bisect_left(token_buckets, tokens)
    if place == len(token_buckets):
        raise ValueError(
            f"Expected at most {token_buckets[-1]} tokens, the largest bucket. Received {tokens}; "
            "cut the text to the max_tokens of its model."
        )
    return token_buckets[place]


def check_fit(lengths: Sequence[int], shape: Shape) -> None:
    """See that texts of so many tokens have room in one forward pass of this shape.

    Raises:
        ValueError: there are more texts, or a longer one.
    """
    longest = max(lengths, default=0)
    if len(lengths) > shape.batch or longest > shape.tokens:
        raise ValueError(f"Expected texts that fit into {shape}. Received {len(lengths)} of up to {longest} tokens.")


def shape_grid(batch_sizes: Sequence[int], token_buckets: Sequence[int], max_batch_tokens: int | None) -> list[Shape]:
    """Every shape to compile, the ones that should be ready first at the front.

    A shape of more than `max_batch_tokens` padded tokens is left out, unless it is the smallest batch of its bucket:
    a text must always fit somewhere. The first shape alone answers every text: a single one, padded to the largest
    bucket. Then come the middle bucket, which spares most texts most of that, the other single texts, and the batches.
    """
    smallest, longest = batch_sizes[0], token_buckets[-1]
    first = {Shape(smallest, longest): 0, Shape(smallest, token_buckets[len(token_buckets) // 2]): 1}
    shapes = [
        Shape(batch, tokens)
        for batch in batch_sizes
        for tokens in token_buckets
        if batch == smallest or max_batch_tokens is None or batch * tokens <= max_batch_tokens
    ]
    return sorted(shapes, key=lambda shape: (first.get(shape, 2), shape.batch != smallest, -shape.batch, shape.tokens))


def programs_for(token_buckets: Sequence[int]) -> tuple[int, ...]:
    """Lengths to compile where padding costs next to nothing: the longest bucket, and down from it the next that is at
    most a third. Every program takes memory and time to compile."""
    kept: list[int] = []
    for bucket in reversed(token_buckets):
        if not kept or 3 * bucket <= kept[-1]:
            kept.append(bucket)
    return tuple(reversed(kept))


class Plan:
    """How to run texts of any lengths in compiled shapes: which texts go together, and in which shape.

    Args:
        seconds: how long a forward pass of each compiled shape takes.
        token_buckets: padded lengths, in rising order.
    """

    def __init__(self, seconds: Mapping[Shape, float], token_buckets: Sequence[int]) -> None:
        self._token_buckets = token_buckets
        # For every bucket, the cheapest shape of each batch size that holds it; one padded further only for want of it.
        self._cheapest = [_cheapest_of_each_batch(bucket, seconds) for bucket in token_buckets]

    def batches(self, lengths: Sequence[int]) -> list[tuple[list[int], Shape]]:
        """The forward passes, one after the other, in which the texts are done soonest.

        Only texts that are neighbours by length go together; among all ways to cut that order into passes, this is the
        one of least time.

        Args:
            lengths: tokens of each text.

        Returns:
            for each pass the places of its texts in `lengths`, and its shape.

        Raises:
            ValueError: a text is longer than every bucket.
        """
        places = sorted(range(len(lengths)), key=lengths.__getitem__)
        total = [0.0]
        taken: list[Shape] = []
        for count, place in enumerate(places, start=1):
            shapes = self._cheapest[bisect_left(self._token_buckets, lengths[place])]
            best, shape = min((spent + total[max(0, count - shape.batch)], shape) for spent, shape in shapes)
            total.append(best)
            taken.append(shape)
        passes = []
        while places:
            shape = taken[len(places) - 1]
            passes.append((places[-shape.batch :], shape))
            places = places[: -shape.batch]
        return passes


def _cheapest_of_each_batch(tokens: int, seconds: Mapping[Shape, float]) -> list[tuple[float, Shape]]:
    cheapest: dict[int, tuple[float, Shape]] = {}
    for shape, spent in seconds.items():
        if shape.tokens >= tokens and spent < cheapest.get(shape.batch, (inf,))[0]:
            cheapest[shape.batch] = (spent, shape)
    return sorted(cheapest.values())
