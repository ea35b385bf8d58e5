"""Attention within a window, at a cost of tokens x width: scores and weights as a band, one column an offset.

A band is [..., token, width]: entry [t, o] speaks of query t and key t - before + o. The tokens are cut into blocks of
at least width - 1, so that the keys of a block lie within itself and its neighbour, and every step is a reshape, a
concatenation or a product of small matrices. Leading axes are arbitrary, and the number of tokens may be unknown.
"""

from collections.abc import Callable
from typing import NamedTuple

from keras import ops

from models.masking import Tensor

# Products of smaller matrices cost more in overhead than they save in work.
_SMALLEST_BLOCK = 16


class Window(NamedTuple):
    """The keys that a query at t looks at: t - before to t + after."""

    before: int
    after: int

    @property
    def width(self) -> int:
        """How many keys that is."""
        return self.before + 1 + self.after


def dot_scores(queries: Tensor, keys: Tensor) -> Tensor:
    """Dot products of all pairs: float[..., query, features] and [..., key, features] -> float[..., query, key]."""
    return ops.matmul(queries, ops.swapaxes(keys, -1, -2))


def band_scores(
    queries: Tensor, keys: Tensor, window: Window, score: Callable[[Tensor, Tensor], Tensor] = dot_scores
) -> Tensor:
    """Scores of each query with the keys in its window.

    Args:
        queries: float[..., tokens, features].
        keys: float[..., tokens, features].
        window: which keys.
        score: what scores all pairs of a block of queries and the keys within their reach.

    Returns:
        float[..., tokens, width]; where there is no such key, the score of a key of zeros.
    """
    leading, tokens = _leading(queries), ops.shape(queries)[-2]
    clipped = _clipped(window, tokens)
    block = _block_size(clipped)
    query_blocks = in_blocks(queries, block)  # [..., blocks, block, features]
    key_blocks = _reach(keys, clipped, block)  # [..., blocks, block + width - 1, features]
    scores = score(query_blocks, key_blocks)  # [..., blocks, block, block + width - 1]
    band = ops.reshape(_skewed(scores, clipped.width), (*leading, -1, clipped.width))
    return _widened(band[..., :tokens, :], clipped, window)  # [..., tokens, width]


def band_mask(mask: Tensor | None, states: Tensor, window: Window) -> Tensor:
    """Which entries of a band are of a key that exists and is real.

    Args:
        mask: bool[batch, tokens], True where there is a token; None where all are.
        states: [batch, tokens, ...], whose number of tokens counts where there is no mask.
        window: which keys.

    Returns:
        bool[batch, tokens, width], or bool[1, tokens, width] where there is no mask.
    """
    if mask is None:
        mask = ops.ones((1, ops.shape(states)[1]), dtype="bool")
    return unfold(ops.expand_dims(mask, -1), window)[..., 0]


def band_context(band: Tensor, values: Tensor, window: Window) -> Tensor:
    """The values in each query's window, summed by the weights of its row.

    Args:
        band: float[..., tokens, width], 0 where there is no such key.
        values: float[..., tokens, features].
        window: which keys.

    Returns:
        float[..., tokens, features].
    """
    tokens, features = ops.shape(values)[-2], values.shape[-1]
    clipped = _clipped(window, tokens)
    block = _block_size(clipped)
    weights = in_blocks(_narrowed(band, clipped, window), block)  # [..., blocks, block, width]
    weights = _unskewed(weights)  # [..., blocks, block, block + width - 1]
    context = ops.matmul(weights, _reach(values, clipped, block))  # [..., blocks, block, features]
    return ops.reshape(context, (*_leading(context, 3), -1, features))[..., :tokens, :]  # [..., tokens, features]


def band_to_map(band: Tensor, window: Window) -> Tensor:
    """The whole map, 0 outside the window: float[..., tokens, width] -> float[..., query, key]."""
    tokens = ops.shape(band)[-2]
    return _unskewed(band)[..., window.before : window.before + tokens]


def band_column_sums(band: Tensor, coefficients: Tensor, window: Window) -> Tensor:
    """What each key gets from all queries, each counted by its coefficient: sum over t of coefficient_t * map[t, key].

    Args:
        band: float[batch, (heads,) tokens, width].
        coefficients: float[batch, tokens].
        window: which keys.

    Returns:
        float[batch, (heads,) tokens].
    """
    tokens = ops.shape(band)[-2]
    clipped = _clipped(window, tokens)
    block = _block_size(clipped)
    coefficients = ops.expand_dims(coefficients, 1) if len(band.shape) == 4 else coefficients
    weighted = _narrowed(band, clipped, window) * ops.expand_dims(coefficients, -1)
    reached = ops.sum(_unskewed(in_blocks(weighted, block)), axis=-2)  # [..., blocks, block + width - 1]
    # A block reaches its own part of the keys and the start of the next one's: the sums of both overlap.
    own = _padded(reached[..., :block], -2, 0, 1)  # [..., blocks + 1, block]
    next_one = _padded(_padded(reached[..., block:], -1, 0, block - clipped.width + 1), -2, 1, 0)
    sums = ops.reshape(own + next_one, (*_leading(own), -1))
    return sums[..., clipped.before : clipped.before + tokens]


def band_distance_from_identity(band: Tensor, mask: Tensor | None, window: Window) -> Tensor:
    """How far apart the rows of real queries are: ||A A^T - I||^2 over them, of the map A of each band.

    Args:
        band: float[batch, tokens, width], 0 where the key does not exist or the query is padding.
        mask: bool[batch, tokens], True where there is a token; None where all are.
        window: which keys.

    Returns:
        float[batch].
    """
    clipped = _clipped(window, ops.shape(band)[-2])
    block = _block_size(clipped)
    rows = _unskewed(in_blocks(_narrowed(band, clipped, window), block))  # [batch, blocks, block, block + width - 1]
    real = ops.ones_like(band[..., :1]) if mask is None else ops.cast(ops.expand_dims(mask, -1), band.dtype)
    position = ops.arange(block, dtype="int32")
    identity = ops.cast(ops.expand_dims(position, 1) == position, band.dtype) * in_blocks(real, block)
    within = dot_scores(rows, rows) - identity  # [batch, blocks, block, block]
    # Rows of a block share keys with those of the next one, and of no other.
    across = dot_scores(
        rows[:, :-1, :, block:], rows[:, 1:, :, : clipped.width - 1]
    )  # [batch, blocks - 1, block, block]
    return ops.sum(ops.square(within), axis=(1, 2, 3)) + 2 * ops.sum(ops.square(across), axis=(1, 2, 3))


def unfold(states: Tensor, window: Window) -> Tensor:
    """What stands in each token's window: [..., tokens, features] -> [..., tokens, width, features].

    0 (False) where there is no such token. It holds width times the states: where a product of matrices does, take it.
    """
    leading, tokens, features = _leading(states), ops.shape(states)[-2], states.shape[-1]
    clipped = _clipped(window, tokens)
    block = _block_size(clipped)
    reached = _reach(states, clipped, block)  # [..., blocks, block + width - 1, features]
    columns = (block + clipped.width - 1) * features
    rows = ops.reshape(reached, (*_leading(reached), 1, columns))
    rows = ops.broadcast_to(rows, (*_leading(rows), block, columns))
    unfolded = _skewed(rows, clipped.width * features, features)  # [..., blocks, block, width * features]
    unfolded = ops.reshape(unfolded, (*leading, -1, clipped.width, features))[..., :tokens, :, :]
    return _padded(unfolded, -2, window.before - clipped.before, window.after - clipped.after)


def in_blocks(states: Tensor, block: int | Tensor, before: int = 0, spare: int = 0) -> Tensor:
    """Cut into blocks, after `before` zeros and with `spare` blocks at the end.

    Args:
        states: [..., tokens, last].
        block: how many tokens make a block.
        before: so many zeros stand before the first token.
        spare: how many blocks of zeros follow the last that has a token.

    Returns:
        [..., blocks + spare, block, last], zeros where there is no token.
    """
    tokens = ops.shape(states)[-2]
    blocks = (tokens + block - 1) // block + spare
    padded = _padded(states, -2, before, blocks * block - before - tokens)
    return ops.reshape(padded, (*_leading(states), -1, block, ops.shape(states)[-1]))


def _clipped(window: Window, tokens: int | Tensor) -> Window:
    """The window without what no text of so many tokens reaches, if the number is known."""
    if not isinstance(tokens, int):
        return window
    return Window(min(window.before, max(tokens - 1, 0)), min(window.after, max(tokens - 1, 0)))


def _widened(band: Tensor, clipped: Window, window: Window) -> Tensor:
    return _padded(band, -1, window.before - clipped.before, window.after - clipped.after)


def _narrowed(band: Tensor, clipped: Window, window: Window) -> Tensor:
    start = window.before - clipped.before
    return band[..., start : start + clipped.width]


def _block_size(window: Window) -> int:
    return max(window.width - 1, _SMALLEST_BLOCK)


def _leading(states: Tensor, trailing: int = 2) -> tuple[int | Tensor, ...]:
    return tuple(ops.shape(states)[:-trailing])


def _padded(states: Tensor, axis: int, before: int | Tensor, after: int | Tensor) -> Tensor:
    if isinstance(before, int) and isinstance(after, int) and before == after == 0:
        return states
    widths: list[tuple[int | Tensor, int | Tensor]] = [(0, 0)] * len(states.shape)
    widths[axis] = (before, after)
    return ops.pad(states, widths)


def _reach(states: Tensor, window: Window, block: int) -> Tensor:
    """What the queries of each block look at: [..., tokens, last] -> [..., blocks, block + width - 1, last]."""
    blocks = in_blocks(states, block, before=window.before, spare=1)  # [..., blocks + 1, block, last]
    return ops.concatenate([blocks[..., :-1, :, :], blocks[..., 1:, : window.width - 1, :]], axis=-2)


def _skewed(rows: Tensor, width: int, step: int = 1) -> Tensor:
    """Row r from column r * step on: [..., rows, columns] -> [..., rows, width].

    Rows that are read `step` longer than they are start `step` later each.
    """
    leading, count, columns = _leading(rows), ops.shape(rows)[-2], rows.shape[-1]
    flat = _padded(ops.reshape(rows, (*leading, count * columns)), -1, 0, count * step)
    return ops.reshape(flat, (*leading, count, columns + step))[..., :width]


def _unskewed(band: Tensor) -> Tensor:
    """Row r to column r and on, 0 elsewhere: [..., rows, width] -> [..., rows, rows + width - 1]."""
    leading, rows, width = _leading(band), ops.shape(band)[-2], band.shape[-1]
    flat = ops.reshape(_padded(band, -1, 0, rows), (*leading, rows * (rows + width)))
    return ops.reshape(flat[..., : rows * (rows + width - 1)], (*leading, rows, rows + width - 1))
