"""Tokens taken apart by the remainder of their positions, so that every rate-th of them stand side by side.

Row b * rate + r holds the tokens r, r + rate, r + 2 rate ... of text b. As only differences of positions count, it does
not matter where in the row of its batch a text begins.
"""

from keras import ops

from models.masking import Tensor


def padded_to_multiple(states: Tensor, mask: Tensor | None, rate: int) -> tuple[Tensor, Tensor]:
    """As many tokens as a multiple of `rate`, of which the mask hides the added ones.

    Args:
        states: float[batch, tokens, features].
        mask: bool[batch, tokens], True where there is a token; None where all are.
        rate: what divides the number of tokens afterwards.

    Returns:
        float[batch, rows * rate, features] and bool[batch, rows * rate].
    """
    batch, tokens, _ = ops.shape(states)
    added = (tokens + rate - 1) // rate * rate - tokens
    mask = ops.ones((batch, tokens), "bool") if mask is None else mask
    return ops.pad(states, [(0, 0), (0, added), (0, 0)]), ops.pad(mask, [(0, 0), (0, added)])


def interleaved(states: Tensor, mask: Tensor | None, rate: int) -> tuple[Tensor, Tensor | None]:
    """Each text as `rate` shorter ones: float[batch * rate, rows, features] and bool[batch * rate, rows]."""
    if rate == 1:
        return states, mask
    states, mask = padded_to_multiple(states, mask, rate)
    batch, tokens, features = ops.shape(states)
    rows = tokens // rate
    apart = ops.transpose(ops.reshape(states, (batch, rows, rate, features)), (0, 2, 1, 3))
    masks_apart = ops.transpose(ops.reshape(mask, (batch, rows, rate)), (0, 2, 1))
    return ops.reshape(apart, (batch * rate, rows, features)), ops.reshape(masks_apart, (batch * rate, rows))


def restored(states: Tensor, rate: int, tokens: int | Tensor) -> Tensor:
    """Back in the order of the texts: [batch * rate, rows, features] -> [batch, tokens, features]."""
    if rate == 1:
        return states
    texts, rows, features = ops.shape(states)
    apart = ops.reshape(states, (texts // rate, rate, rows, features))
    together = ops.reshape(ops.transpose(apart, (0, 2, 1, 3)), (texts // rate, rows * rate, features))
    return together[:, :tokens]


def restored_maps(maps: Tensor, rate: int, tokens: int | Tensor) -> Tensor:
    """Maps of the shorter texts as maps of whole ones: [batch * rate, heads, rows, rows] -> [batch, heads, query, key].

    A query gives no weight to keys of other remainders.
    """
    if rate == 1:
        return maps
    texts, heads, rows, _ = ops.shape(maps)
    apart = ops.reshape(maps, (texts // rate, rate, heads, rows, rows))
    return spread(ops.transpose(apart, (0, 2, 3, 1, 4)))[:, :, :tokens, :tokens]


def spread(strided: Tensor) -> Tensor:
    """Weights of every rate-th key set at these keys: [batch, heads, rows, rate, rows] -> [batch, heads, query, key].

    Entry [q, r, k] speaks of query q * rate + r and key k * rate + r.
    """
    batch, heads, rows, rate, _ = ops.shape(strided)
    same_remainder = ops.cast(ops.reshape(ops.eye(rate), (rate, 1, rate)), strided.dtype)
    maps = ops.expand_dims(strided, -1) * same_remainder  # [batch, heads, rows, rate, rows, rate]
    return ops.reshape(maps, (batch, heads, rows * rate, rows * rate))
