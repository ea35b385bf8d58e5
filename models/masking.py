"""Masked softmax and helpers. Every `mask` is bool[batch, tokens], True where there is a token."""

from typing import Any, TypeAlias

from keras import backend, ops

# A tensor of the current backend; Keras has no public type for it.
Tensor: TypeAlias = Any

# Finite in the dtype, and low enough that the softmax gives exactly 0 beside any real score.
_MASKED_SCORE = {"float16": -6e4}
_MASKED_SCORE_DEFAULT = -1e30


def masked_softmax(scores: Tensor, mask: Tensor | None, axis: int = -1, *, rows: Tensor | None = None) -> Tensor:
    """Softmax over the unmasked entries.

    Maps are large, so this makes only three passes: masked scores become so low that the softmax gives exactly 0, and
    rows without unmasked entries are multiplied by 0.

    Args:
        scores: float[...], any dtype.
        mask: bool, broadcastable to `scores`, True for entries to keep; None for all.
        axis: the axis that sums to 1.
        rows: bool, broadcastable to `scores`, True for rows to keep; None for all.

    Returns:
        float[...] of the dtype of `scores`: exactly 0 where masked, summing to 1 over the rest. A fully masked row is
        zeros, never NaN.
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
    """Softmax of each query's scores over the keys it may see.

    Args:
        scores: float[batch, query, key].
        query_mask: bool[batch, query], or None if all queries are real.
        key_mask: bool[batch, key], or None if all keys are real.
        causal: hide keys after the query.

    Returns:
        float[batch, query, key] of the dtype of `scores`. Rows sum to 1; padded keys get exactly 0; rows of queries
        that are padded or see no key are zeros.
    """
    seen = None if key_mask is None else ops.expand_dims(key_mask, 1)  # [batch, 1, key]
    if causal:
        queries, keys = (ops.arange(ops.shape(scores)[axis], dtype="int32") for axis in (1, 2))
        reached = ops.expand_dims(ops.expand_dims(queries, 1) >= keys, 0)  # [1, query, key]
        seen = reached if seen is None else ops.logical_and(seen, reached)
    return masked_softmax(scores, seen, rows=None if query_mask is None else ops.expand_dims(query_mask, -1))


def uniform_weights(mask: Tensor, dtype: str) -> Tensor:
    """1/n on the n real tokens of each row, 0 on padding: bool[batch, tokens] -> float[batch, tokens]."""
    real = ops.cast(mask, dtype)
    return real / ops.maximum(ops.sum(real, axis=-1, keepdims=True), ops.ones_like(real[:, :1]))


def zero_padding(states: Tensor, mask: Tensor | None) -> Tensor:
    """Set padded positions of float[batch, tokens, features] to 0."""
    if mask is None:
        return states
    return ops.where(ops.expand_dims(mask, -1), states, ops.zeros_like(states))


def _softmax(scores: Tensor, axis: int) -> Tensor:
    if scores.shape[axis] == 1:
        # The weight of a lone entry is 1. Keras' softmax would warn about it.
        return ops.exp(scores - scores)
    return ops.softmax(scores, axis=axis)
