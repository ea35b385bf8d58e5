"""Multi-head attention: projections, splitting into heads, and one softmax per head."""

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import keras
from keras import ops

from models.layers.base import BaseLayer
from models.masking import Tensor, masked_softmax
from models.windows import Window, band_context, band_mask, band_scores


def split_heads(states: Tensor, heads: int) -> Tensor:
    """[batch, tokens, heads * size] -> [batch, heads, tokens, size]."""
    batch, tokens = ops.shape(states)[:2]
    return ops.transpose(ops.reshape(states, (batch, tokens, heads, states.shape[-1] // heads)), (0, 2, 1, 3))


def merge_heads(states: Tensor) -> Tensor:
    """[batch, heads, tokens, size] -> [batch, tokens, heads * size]."""
    batch, _, tokens, _ = ops.shape(states)
    return ops.reshape(ops.transpose(states, (0, 2, 1, 3)), (batch, tokens, states.shape[1] * states.shape[3]))


def scaled(queries: Tensor) -> Tensor:
    """Divide queries by sqrt(size), so that dot products with keys have the variance of one feature."""
    return queries / math.sqrt(queries.shape[-1])


def visible_keys(
    queries: Tensor, keys: Tensor, key_mask: Tensor | None, attention_mask: Tensor | None = None, causal: bool = False
) -> Tensor | None:
    """Keys that each query may see: bool, broadcastable to [batch, heads, query, key]; None for all.

    Args:
        queries: [batch, heads, query, size].
        keys: [batch, heads, key, size].
        key_mask: bool[batch, key], True where there is a token; None if all are real.
        attention_mask: bool[query, key] or bool[batch, query, key], True where a query may look.
        causal: hide keys after the query.
    """
    conditions = []
    if key_mask is not None:
        conditions.append(key_mask[:, None, None, :])
    if attention_mask is not None:
        attention_mask = ops.cast(attention_mask, "bool")
        conditions.append(attention_mask if len(attention_mask.shape) == 2 else ops.expand_dims(attention_mask, 1))
    if causal:
        query_index, key_index = ops.arange(ops.shape(queries)[2]), ops.arange(ops.shape(keys)[2])
        conditions.append(ops.expand_dims(query_index, 1) >= key_index)
    return reduce(ops.logical_and, conditions) if conditions else None


def attend(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    query_mask: Tensor | None,
    visible: Tensor | None,
    dropout: Callable[[Tensor], Tensor] = lambda weights: weights,
) -> tuple[Tensor, Tensor]:
    """Scaled dot-product attention per head.

    Args:
        queries: float[batch, heads, query, size].
        keys: float[batch, heads, key, size].
        values: float[batch, heads, key, value_size].
        query_mask: bool[batch, query], True where there is a token; None if all are real.
        visible: the result of `visible_keys`.
        dropout: applied to the weights of the context, but not to the map.

    Returns:
        context[batch, heads, query, value_size] and map[batch, heads, query, key], both 0 for queries that are padded
        or see no key.
    """
    scores = ops.matmul(scaled(queries), ops.transpose(keys, (0, 1, 3, 2)))  # [batch, heads, query, key]
    weights = masked_softmax(scores, visible, rows=_real_rows(query_mask))
    return ops.matmul(dropout(weights), values), weights


def attend_nearby(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    query_mask: Tensor | None,
    key_mask: Tensor | None,
    window: Window,
    dropout: Callable[[Tensor], Tensor] = lambda weights: weights,
) -> tuple[Tensor, Tensor]:
    """`attend` to the keys in a window around each query, at a cost of tokens x width.

    Arguments are those of `attend`, with as many keys as queries; `key_mask` is bool[batch, tokens] or None.

    Returns:
        context[batch, heads, tokens, value_size] and band[batch, heads, tokens, width]: entry [t, o] is the weight of
        key t - window.before + o, 0 if there is no such key.
    """
    scores = band_scores(scaled(queries), keys, window)  # [batch, heads, tokens, width]
    visible = ops.expand_dims(band_mask(key_mask, queries[:, 0], window), 1)
    band = masked_softmax(scores, visible, rows=_real_rows(query_mask))
    return band_context(dropout(band), values, window), band


def _real_rows(query_mask: Tensor | None) -> Tensor | None:
    """Rows of the maps that belong to real queries: bool[batch, query] -> bool[batch, 1, query, 1]."""
    return None if query_mask is None else query_mask[:, None, :, None]


class HeadedSelfAttention(BaseLayer):
    """Base of self-attentions with a query, key and value kernel per head, no biases and no output projection.

        Q = x W_Q,  K = x W_K,  V = x W_V,  each split into one block of features per head

    The arguments are those of MultiHeadSelfAttention.
    """

    def __init__(
        self,
        heads: int,
        size_per_head: int,
        key_size: int | None = None,
        *,
        causal: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        kernel_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if heads < 1 or size_per_head < 1:
            raise ValueError(f"Expected heads and size_per_head of at least 1. Received {heads} and {size_per_head}.")
        if key_size is not None and key_size < 1:
            raise ValueError(f"Expected key_size of at least 1, or None for size_per_head. Received {key_size}.")
        self.heads = heads
        self.size_per_head = size_per_head
        self.key_size = key_size
        self.causal = causal
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self._add_kernels(input_shape[-1], input_shape[-1])

    def _add_kernels(self, query_features: int | None, key_features: int | None) -> None:
        key_size = self.size_per_head if self.key_size is None else self.key_size
        width = self.heads * key_size
        self.query_kernel = self._add("query_kernel", (query_features, width))  # W_Q
        self.key_kernel = self._add("key_kernel", (key_features, width))  # W_K
        self.value_kernel = self._add("value_kernel", (key_features, self.heads * self.size_per_head))  # W_V

    def _project(self, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Q[batch, heads, query, key_size], K[batch, heads, key, key_size] and V[batch, heads, key, size_per_head]."""
        return (
            split_heads(ops.matmul(queries, self.query_kernel), self.heads),
            split_heads(ops.matmul(keys, self.key_kernel), self.heads),
            split_heads(ops.matmul(keys, self.value_kernel), self.heads),
        )
