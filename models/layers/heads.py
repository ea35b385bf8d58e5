"""What the attentions of several heads share: projections, the split into heads, and one softmax a head."""

import math
from typing import Any

import keras
from keras import ops

from models.masking import Tensor, masked_softmax
from models.windows import Window, band_context, band_mask, band_scores


def split_heads(states: Tensor, heads: int) -> Tensor:
    """The blocks of features one above the other: [batch, tokens, heads * size] -> [batch, heads, tokens, size]."""
    batch, tokens = ops.shape(states)[:2]
    return ops.transpose(ops.reshape(states, (batch, tokens, heads, states.shape[-1] // heads)), (0, 2, 1, 3))


def merge_heads(states: Tensor) -> Tensor:
    """Back to blocks side by side: [batch, heads, tokens, size] -> [batch, tokens, heads * size]."""
    batch, _, tokens, _ = ops.shape(states)
    return ops.reshape(ops.transpose(states, (0, 2, 1, 3)), (batch, tokens, states.shape[1] * states.shape[3]))


def scaled(queries: Tensor) -> Tensor:
    """Queries over sqrt(size), so that the dot product with a key has the variance of one feature."""
    return queries / math.sqrt(queries.shape[-1])


def visible_keys(
    queries: Tensor,
    keys: Tensor,
    key_mask: Tensor | None = None,
    attention_mask: Tensor | None = None,
    causal: bool = False,
) -> Tensor | None:
    """Which keys each query may look at: bool, broadcastable to [batch, heads, query, key]; None for all of them.

    Args:
        queries: [batch, heads, query, size].
        keys: [batch, heads, key, size].
        key_mask: bool[batch, key], True where there is a token.
        attention_mask: bool[query, key] or bool[batch, query, key], True where a query may look.
        causal: whether keys after the query are hidden.
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
    visible = None
    for condition in conditions:
        visible = condition if visible is None else ops.logical_and(visible, condition)
    return visible


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, query_mask: Tensor | None, visible: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Scaled dot-product attention of each head.

    Args:
        queries: float[batch, heads, query, size].
        keys: float[batch, heads, key, size].
        values: float[batch, heads, key, value_size].
        query_mask: bool[batch, query], True where there is a token; None where all are.
        visible: what `visible_keys` gives.

    Returns:
        context[batch, heads, query, value_size] and map[batch, heads, query, key], both 0 for padded queries and for
        those that see no key.
    """
    scores = ops.matmul(scaled(queries), ops.transpose(keys, (0, 1, 3, 2)))  # [batch, heads, query, key]
    weights = masked_softmax(scores, visible, rows=real_rows(query_mask))
    return ops.matmul(weights, values), weights


def attend_nearby(
    queries: Tensor, keys: Tensor, values: Tensor, query_mask: Tensor | None, key_mask: Tensor | None, window: Window
) -> tuple[Tensor, Tensor]:
    """`attend` to the keys in a window around each query, at a cost of tokens x width.

    Args:
        queries: float[batch, heads, tokens, size].
        keys: float[batch, heads, tokens, size].
        values: float[batch, heads, tokens, value_size].
        query_mask: bool[batch, tokens], True where there is a token; None where all are.
        key_mask: bool[batch, tokens], the same of the keys.
        window: which keys.

    Returns:
        context[batch, heads, tokens, value_size] and band[batch, heads, tokens, width]: entry [t, o] is the weight of
        key t - window.before + o, 0 where there is no such key.
    """
    scores = band_scores(scaled(queries), keys, window)  # [batch, heads, tokens, width]
    visible = ops.expand_dims(band_mask(key_mask, queries[:, 0], window), 1)
    band = masked_softmax(scores, visible, rows=real_rows(query_mask))
    return band_context(band, values, window), band


def real_rows(query_mask: Tensor | None) -> Tensor | None:
    """Which rows of the maps are of real queries: bool[batch, query] -> bool[batch, 1, query, 1]."""
    return None if query_mask is None else query_mask[:, None, :, None]


class HeadedSelfAttention(keras.layers.Layer):
    """The base of self-attentions with a query, a key and a value kernel a head, no bias and no output projection.

        Q = x W_Q,  K = x W_K,  V = x W_V,  each head its own block of their features

    Args:
        heads: how many maps there are.
        size_per_head: features of a value; the output has heads * size_per_head.
        key_size: features of a query and of a key of one head; None for size_per_head.
        causal: whether a query sees only itself and keys before it.
        kernel_initializer: of every kernel, each with a seed of its own.
        kernel_regularizer: of every kernel.
        kernel_constraint: of every kernel.
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
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self._add_kernels(input_shape[-1], input_shape[-1])

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None = None) -> Tensor | None:
        return previous_mask

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "heads": self.heads,
            "size_per_head": self.size_per_head,
            "key_size": self.key_size,
            "causal": self.causal,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
        }

    def _add_kernels(self, query_features: int | None, key_features: int | None) -> None:
        key_size = self.size_per_head if self.key_size is None else self.key_size
        self.query_kernel = self._add_kernel("query_kernel", query_features, key_size)  # W_Q
        self.key_kernel = self._add_kernel("key_kernel", key_features, key_size)  # W_K
        self.value_kernel = self._add_kernel("value_kernel", key_features, self.size_per_head)  # W_V

    def _add_kernel(self, name: str, features: int | None, size: int) -> Tensor:
        return self.add_weight(
            name=name,
            shape=(features, self.heads * size),
            # One initializer object would give kernels of one shape the same values.
            initializer=self.kernel_initializer.clone(),
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )

    def _project(self, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Q[batch, heads, query, key_size], K[batch, heads, key, key_size] and V[batch, heads, key, size_per_head]."""
        return (
            split_heads(ops.matmul(queries, self.query_kernel), self.heads),
            split_heads(ops.matmul(keys, self.key_kernel), self.heads),
            split_heads(ops.matmul(keys, self.value_kernel), self.heads),
        )
