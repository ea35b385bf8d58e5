"""Split a text into `rate` shorter ones by the remainder of each token's position, and join them again.

Row b * rate + r holds tokens r, r + rate, r + 2 rate ... of text b. Only differences of positions matter, so a text may
start anywhere in its row.
"""

from keras import ops

from models.masking import Tensor


def padded_to_multiple(states: Tensor, mask: Tensor | None, rate: int) -> tuple[Tensor, Tensor]:
    """Pad float[batch, tokens, features] to a multiple of `rate`, and hide the added tokens in the mask.

    The mask is bool[batch, tokens], True where there is a token; None if all are real.
    """
    batch, tokens, _ = ops.shape(states)
    added = (tokens + rate - 1) // rate * rate - tokens
    mask = ops.ones((batch, tokens), "bool") if mask is None else mask
    return ops.pad(states, [(0, 0), (0, added), (0, 0)]), ops.pad(mask, [(0, 0), (0, added)])


def interleaved(states: Tensor, mask: Tensor | None, rate: int) -> tuple[Tensor, Tensor | None]:
    """Split each text into `rate` shorter ones: float[batch * rate, rows, features] and bool[batch * rate, rows]."""
    if rate == 1:
        return states, mask
    states, mask = padded_to_multiple(states, mask, rate)
    batch, tokens, features = ops.shape(states)
    rows = tokens // rate
    states = ops.transpose(ops.reshape(states, (batch, rows, rate, features)), (0, 2, 1, 3))  # [b, rate, rows, f]
    mask = ops.transpose(ops.reshape(mask, (batch, rows, rate)), (0, 2, 1))  # [batch, rate, rows]
    return ops.reshape(states, (batch * rate, rows, features)), ops.reshape(mask, (batch * rate, rows))


def restored(states: Tensor, rate: int, tokens: int | Tensor) -> Tensor:
    """Undo `interleaved`: [batch * rate, rows, features] -> [batch, tokens, features]."""
    if rate == 1:
        return states
    texts, rows, features = ops.shape(states)
    apart = ops.reshape(states, (texts // rate, rate, rows, features))
    together = ops.reshape(ops.transpose(apart, (0, 2, 1, 3)), (texts // rate, rows * rate, features))
    return together[:, :tokens]


def restored_maps(maps: Tensor, rate: int, tokens: int | Tensor) -> Tensor:
    """Maps of the whole texts: [batch * rate, heads, rows, rows] -> [batch, heads, query, key].

    Keys of another remainder get weight 0.
    """
    if rate == 1:
        return maps
    texts, heads, rows, _ = ops.shape(maps)
    apart = ops.reshape(maps, (texts // rate, rate, heads, rows, rows))
    return spread(ops.transpose(apart, (0, 2, 3, 1, 4)))[:, :, :tokens, :tokens]


def spread(strided: Tensor) -> Tensor:
    """Full maps of strided weights: [batch, heads, rows, rate, rows] -> [batch, heads, query, key].

    Entry [q, r, k] is the weight of key k * rate + r for query q * rate + r.
    """
    batch, heads, rows, rate, _ = ops.shape(strided)
    same_remainder = ops.cast(ops.reshape(ops.eye(rate), (rate, 1, rate)), strided.dtype)
    maps = ops.expand_dims(strided, -1) * same_remainder  # [batch, heads, rows, rate, rows, rate]
    return ops.reshape(maps, (batch, heads, rows * rate, rows * rate))
