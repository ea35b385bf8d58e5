"""Masks, once and for all: `mask` is boolean [batch, tokens], True where there is a token."""

from typing import Any, TypeAlias

from keras import backend, ops

# A tensor of whichever backend Keras runs on; Keras has no public name for it.
Tensor: TypeAlias = Any

# So low that exp() of it is exactly 0 beside any real score, and finite in the dtype.
_MASKED_SCORE = {"float16": -6e4}
_MASKED_SCORE_DEFAULT = -1e30


def masked_softmax(scores: Tensor, mask: Tensor | None, axis: int = -1, *, rows: Tensor | None = None) -> Tensor:
    """Softmax over the unmasked entries alone.

    A map has as many entries as there are pairs of tokens and each pass over it counts, so there are three: what is
    masked gets a score of which the softmax makes an exact 0, and a row of nothing else is multiplied by 0.

    Args:
        scores: float[...], any dtype.
        mask: bool, broadcastable to `scores`, True where a score counts; None where all do.
        axis: the axis that sums to 1.
        rows: bool, broadcastable to `scores`, True where a row counts, whatever its entries; None where all do.

    Returns:
        float[...] of the dtype of `scores`: exactly 0 where masked, summing to 1 over the rest; all zeros, never NaN,
        where nothing is left.
    """
    if rows is not None:
        mask = rows if mask is None else ops.logical_and(mask, rows)
    if mask is None:
        return _softmax(scores, axis)
    dtype = backend.standardize_dtype(scores.dtype)
    mask = ops.cast(mask, "bool")
    lowest = ops.cast(_MASKED_SCORE.get(dtype, _MASKED_SCORE_DEFAULT), dtype)
    weights = _softmax(ops.where(mask, scores, lowest), axis)
    return weights * ops.cast(ops.any(mask, axis=axis, keepdims=True), dtype)


def attention_map(
    scores: Tensor, query_mask: Tensor | None, key_mask: Tensor | None, *, causal: bool = False
) -> Tensor:
    """Each query's weights over the keys it may see.

    Args:
        scores: float[batch, query, key].
        query_mask: bool[batch, query], or None where every query is real.
        key_mask: bool[batch, key], or None where every key is real.
        causal: no query sees a key that stands after it.

    Returns:
        float[batch, query, key] of the dtype of `scores`: rows sum to 1 over what the query sees; padded keys have
        weight exactly 0; rows of padded queries, and of queries that see nothing, are zeros.
    """
    seen = None if key_mask is None else ops.expand_dims(key_mask, 1)  # [batch, 1, key]
    if causal:
        queries, keys = (ops.arange(ops.shape(scores)[axis], dtype="int32") for axis in (1, 2))
        reached = ops.expand_dims(ops.expand_dims(queries, 1) >= keys, 0)  # [1, query, key]
        seen = reached if seen is None else ops.logical_and(seen, reached)
    return masked_softmax(scores, seen, rows=None if query_mask is None else ops.expand_dims(query_mask, -1))


def uniform_weights(mask: Tensor, dtype: str) -> Tensor:
    """1/n on the n real tokens of each row, 0 on padding: [batch, tokens] -> float[batch, tokens].

    A row with no real token is all zeros.
    """
    real = ops.cast(mask, dtype)
    return real / ops.maximum(ops.sum(real, axis=-1, keepdims=True), ops.ones_like(real[:, :1]))


def zero_padding(states: Tensor, mask: Tensor | None) -> Tensor:
    """Set the states of padded positions to 0: float[batch, tokens, features] of the same dtype and shape."""
    if mask is None:
        return states
    return ops.where(ops.expand_dims(mask, -1), states, ops.zeros_like(states))


def _softmax(scores: Tensor, axis: int) -> Tensor:
    if scores.shape[axis] == 1:
        # A text of one token: its weight is 1. Keras' softmax says so too, and warns each time.
        return ops.exp(scores - scores)
    return ops.softmax(scores, axis=axis)
