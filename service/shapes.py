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


def cheapest_batches(count: int, tokens: int, seconds: Mapping[Shape, float]) -> list[Shape]:
    """The shapes whose forward passes, one after the other, take `count` texts of up to `tokens` tokens soonest.

    Args:
        count: number of texts, at least 1.
        tokens: tokens of the longest one.
        seconds: how long a forward pass of each compiled shape takes.

    Raises:
        ValueError: no shape is long enough.
    """
    cost: dict[int, tuple[float, Shape]] = {}  # by batch size: padding further is only ever worth it for want of better
    for shape, spent in seconds.items():
        if shape.tokens >= tokens and spent < cost.get(shape.batch, (inf,))[0]:
            cost[shape.batch] = (spent, shape)
    if not cost:
        raise ValueError(f"Expected a compiled shape of at least {tokens} tokens. Received {sorted(seconds)}.")
    total = [0.0]
    taken: list[Shape] = []
    for texts in range(1, count + 1):
        best, shape = min((spent + total[max(0, texts - shape.batch)], shape) for spent, shape in cost.values())
        total.append(best)
        taken.append(shape)
    plan: list[Shape] = []
    left = count
    while left > 0:
        plan.append(taken[left - 1])
        left -= taken[left - 1].batch
    return plan
