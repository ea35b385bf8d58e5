"""Masks, once and for all: `mask` is boolean [batch, tokens], True where there is a token."""

from typing import Any, TypeAlias

from keras import backend, ops

# A tensor of whichever backend Keras runs on; Keras has no public name for it.
Tensor: TypeAlias = Any

# Large enough that exp() of it is exactly 0 beside any real score, small enough to be finite in the dtype.
_MASKED_SCORE = {"float16": -3e4}
_MASKED_SCORE_DEFAULT = -1e9


def masked_softmax(scores: Tensor, mask: Tensor | None, axis: int = -1) -> Tensor:
    """Softmax over the unmasked entries alone.

    Args:
        scores: float[...], any dtype.
        mask: bool, broadcastable to `scores`, True where a score counts; None where all do.
        axis: the axis that sums to 1.

    Returns:
        float[...] of the dtype of `scores`: exactly 0 where masked, summing to 1 over the rest; all zeros, never NaN,
        where nothing is left.
    """
    if mask is None:
        return ops.softmax(scores, axis=axis)
    dtype = backend.standardize_dtype(scores.dtype)
    mask = ops.cast(mask, "bool")
    scores = ops.where(mask, scores, ops.cast(_MASKED_SCORE.get(dtype, _MASKED_SCORE_DEFAULT), dtype))
    weights = ops.where(mask, ops.softmax(scores, axis=axis), ops.cast(0, dtype))
    total = ops.sum(weights, axis=axis, keepdims=True)
    # A row that is masked throughout sums to 0: divide it by 1.
    return weights / ops.where(total > 0, total, ops.ones_like(total))


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
