"""Attention within a window, at a cost of tokens x width.

Scores and weights are bands [..., token, width]: entry [t, o] belongs to query t and key t - before + o. Tokens are cut
into blocks of at least width - 1, so that a block's keys lie in itself and its neighbour and every step is a reshape, a
concatenation or a product of small matrices. Leading axes are arbitrary, and the number of tokens may be unknown. A
missing key has weight 0. A `mask` is bool[batch, tokens], True where there is a token; None if all are real.
"""

from collections.abc import Callable
from typing import NamedTuple

from keras import ops

from models.masking import Tensor

# Products of smaller matrices are dominated by overhead.
_SMALLEST_BLOCK = 16


class Window(NamedTuple):
    """The keys that a query at t looks at: t - before to t + after."""

    before: int
    after: int

    @property
    def width(self) -> int:
        """Number of keys."""
        return self.before + 1 + self.after


def dot_scores(queries: Tensor, keys: Tensor) -> Tensor:
    """Dot products of all pairs: float[..., query, features], float[..., key, features] -> float[..., query, key]."""
    return ops.matmul(queries, ops.swapaxes(keys, -1, -2))


def band_scores(
    queries: Tensor, keys: Tensor, window: Window, score: Callable[[Tensor, Tensor], Tensor] = dot_scores
) -> Tensor:
    """Scores of each query with the keys in its window: float[..., tokens, features] both -> float[..., tokens, width].

    `score` scores all pairs of a block of queries and the keys in their windows. A missing key scores like zeros.
    """
    leading, tokens = _leading(queries), ops.shape(queries)[-2]
    clipped, block = _clipped(window, tokens)
    query_blocks = in_blocks(queries, block)  # [..., blocks, block, features]
    key_blocks = _reach(keys, clipped, block)  # [..., blocks, block + width - 1, features]
    scores = score(query_blocks, key_blocks)  # [..., blocks, block, block + width - 1]
    band = ops.reshape(_skewed(scores, clipped.width), (*leading, -1, clipped.width))
    return _widened(band[..., :tokens, :], clipped, window)  # [..., tokens, width]


def band_mask(mask: Tensor | None, states: Tensor, window: Window) -> Tensor:
    """Entries of a band whose key exists and is real: bool[batch, tokens, width], or bool[1, tokens, width] unmasked.

    `states` [batch, tokens, ...] give the number of tokens.
    """
    batch, tokens = ops.shape(states)[:2]
    if mask is None:
        batch, mask = 1, ops.ones((1, tokens), dtype="bool")
    clipped, block = _clipped(window, tokens)
    columns = block + clipped.width - 1
    reached = _reach(ops.expand_dims(mask, -1), clipped, block)  # [batch, blocks, columns, 1]
    rows = ops.reshape(reached, (batch, -1, 1, columns))
    rows = ops.broadcast_to(rows, (*_leading(rows), block, columns))  # [batch, blocks, block, columns]
    band = ops.reshape(_skewed(rows, clipped.width), (batch, -1, clipped.width))[:, :tokens]  # [batch, tokens, width]
    return _widened(band, clipped, window)


def band_context(band: Tensor, values: Tensor, window: Window) -> Tensor:
    """Weighted sum of the values in each query's window; the band is 0 for missing keys.

    float[..., tokens, width], float[..., tokens, features] -> float[..., tokens, features].
    """
    tokens, features = ops.shape(values)[-2], values.shape[-1]
    clipped, block = _clipped(window, tokens)
    weights = in_blocks(_narrowed(band, clipped, window), block)  # [..., blocks, block, width]
    weights = _unskewed(weights)  # [..., blocks, block, block + width - 1]
    context = ops.matmul(weights, _reach(values, clipped, block))  # [..., blocks, block, features]
    return ops.reshape(context, (*_leading(context, 3), -1, features))[..., :tokens, :]  # [..., tokens, features]


def band_to_map(band: Tensor, window: Window) -> Tensor:
    """The full map, 0 outside the window: float[..., tokens, width] -> float[..., query, key]."""
    tokens = ops.shape(band)[-2]
    return _unskewed(band)[..., window.before : window.before + tokens]


def band_column_sums(band: Tensor, coefficients: Tensor, window: Window) -> Tensor:
    """Sum over queries t of coefficient_t * map[t, key].

    float[batch, (heads,) tokens, width], float[batch, tokens] -> float[batch, (heads,) tokens].
    """
    tokens = ops.shape(band)[-2]
    clipped, block = _clipped(window, tokens)
    coefficients = ops.expand_dims(coefficients, 1) if len(band.shape) == 4 else coefficients
    weighted = _narrowed(band, clipped, window) * ops.expand_dims(coefficients, -1)
    reached = ops.sum(_unskewed(in_blocks(weighted, block)), axis=-2)  # [..., blocks, block + width - 1]
    # The queries of a block see its own keys and the first keys of the next block.
    own = _padded(reached[..., :block], -2, 0, 1)  # [..., blocks + 1, block]
    following = _padded(_padded(reached[..., block:], -1, 0, block - clipped.width + 1), -2, 1, 0)
    sums = ops.reshape(own + following, (*_leading(own), -1))
    return sums[..., clipped.before : clipped.before + tokens]


def band_distance_from_identity(band: Tensor, mask: Tensor | None, window: Window) -> Tensor:
    """||A A^T - I||^2 over the real rows of each band's map A: float[batch, tokens, width] -> float[batch].

    Weights of padded queries are 0.
    """
    clipped, block = _clipped(window, ops.shape(band)[-2])
    rows = _unskewed(in_blocks(_narrowed(band, clipped, window), block))  # [batch, blocks, block, block + width - 1]
    real = ops.ones_like(band[..., :1]) if mask is None else ops.cast(ops.expand_dims(mask, -1), band.dtype)
    position = ops.arange(block, dtype="int32")
    identity = ops.cast(ops.expand_dims(position, 1) == position, band.dtype) * in_blocks(real, block)
    within = dot_scores(rows, rows) - identity  # [batch, blocks, block, block]
    # Rows share keys only with rows of the same block and of the next one.
    across = dot_scores(rows[:, :-1, :, block:], rows[:, 1:, :, : clipped.width - 1])  # [b, blocks - 1, block, block]
    return ops.sum(ops.square(within), axis=(1, 2, 3)) + 2 * ops.sum(ops.square(across), axis=(1, 2, 3))


def in_blocks(states: Tensor, block: int | Tensor, before: int = 0, spare: int = 0) -> Tensor:
    """Cut the tokens into blocks: [..., tokens, last] -> [..., blocks + spare, block, last].

    `before` zeros precede the first token; zeros fill the last block and the `spare` ones after it.
    """
    tokens = ops.shape(states)[-2]
    blocks = (tokens + block - 1) // block + spare
    padded = _padded(states, -2, before, blocks * block - before - tokens)
    return ops.reshape(padded, (*_leading(states), -1, block, ops.shape(states)[-1]))


def _clipped(window: Window, tokens: int | Tensor) -> tuple[Window, int]:
    """The window, cut to the number of tokens if that is known, and the number of tokens in a block."""
    if isinstance(tokens, int):
        window = Window(min(window.before, max(tokens - 1, 0)), min(window.after, max(tokens - 1, 0)))
    return window, max(window.width - 1, _SMALLEST_BLOCK)


def _widened(band: Tensor, clipped: Window, window: Window) -> Tensor:
    return _padded(band, -1, window.before - clipped.before, window.after - clipped.after)


def _narrowed(band: Tensor, clipped: Window, window: Window) -> Tensor:
    start = window.before - clipped.before
    return band[..., start : start + clipped.width]


def _leading(states: Tensor, trailing: int = 2) -> tuple[int | Tensor, ...]:
    return tuple(ops.shape(states)[:-trailing])


def _padded(states: Tensor, axis: int, before: int | Tensor, after: int | Tensor) -> Tensor:
    if isinstance(before, int) and isinstance(after, int) and before == after == 0:
        return states
    widths: list[tuple[int | Tensor, int | Tensor]] = [(0, 0)] * len(states.shape)
    widths[axis] = (before, after)
    return ops.pad(states, widths)


def _reach(states: Tensor, window: Window, block: int) -> Tensor:
    """Keys in the windows of each block of queries: [..., tokens, last] -> [..., blocks, block + width - 1, last]."""
    blocks = in_blocks(states, block, before=window.before, spare=1)  # [..., blocks + 1, block, last]
    return ops.concatenate([blocks[..., :-1, :, :], blocks[..., 1:, : window.width - 1, :]], axis=-2)


def _skewed(rows: Tensor, width: int) -> Tensor:
    """Columns r to r + width of row r: [..., rows, columns] -> [..., rows, width].

    Reading rows one longer than they are shifts each by one more.
    """
    leading, count, columns = _leading(rows), ops.shape(rows)[-2], rows.shape[-1]
    flat = _padded(ops.reshape(rows, (*leading, count * columns)), -1, 0, count)
    return ops.reshape(flat, (*leading, count, columns + 1))[..., :width]


def _unskewed(band: Tensor) -> Tensor:
    """Undo `_skewed`, with 0 elsewhere: [..., rows, width] -> [..., rows, rows + width - 1]."""
    leading, rows, width = _leading(band), ops.shape(band)[-2], band.shape[-1]
    flat = ops.reshape(_padded(band, -1, 0, rows), (*leading, rows * (rows + width)))
    return ops.reshape(flat[..., : rows * (rows + width - 1)], (*leading, rows, rows + width - 1))
