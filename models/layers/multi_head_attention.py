"""Multi-head attention with biases and an output projection, as in keras-multi-head."""

from typing import Any

import keras
from keras import ops

from models.layers.base import BaseLayer
from models.layers.heads import attend, attend_nearby, merge_heads, split_heads, visible_keys
from models.layers.outputs import outputs
from models.masking import Tensor, zero_padding
from models.windows import Window, band_to_map


@keras.saving.register_keras_serializable("heed")
class MultiHeadAttention(BaseLayer):
    """Multi-head attention over projected queries, keys and values, with an output projection.

        Q = g(q W_q + b_q),  K = g(k W_k + b_k),  V = g(v W_v + b_v),  each split into head_num blocks of size
        A_h = softmax over real visible keys of (Q_h K_h^T / sqrt(size))
        output = g([A_1 V_1 | ... | A_H V_H] W_o + b_o)

    Vaswani et al. 2017, "Attention Is All You Need" (arXiv 1706.03762), section 3.2.2, if the activation g is linear.
    Options and weight order are those of `keras-multi-head` 0.29, so `set_weights` carries its weights over. Here g is
    linear by default instead of ReLU, kernels start with different values, masked keys get exactly no weight, and
    padded queries give zeros.

    Input: float[batch, tokens, features], or a list of queries float[batch, tokens, features], keys float[batch, keys,
    features] and values float[batch, keys, value features]; mask bool[batch, tokens], or a list of three, of which the
    last two both apply to the keys.
    Output: float[batch, tokens, value features], zeros on padding. With `return_attention_scores=True` also the maps
    float[batch, heads, query, key]: rows of padded queries and columns of padded keys are exactly 0; with
    `return_band=True` (only with a window) also the band float[batch, heads, tokens, width], whose entry [t, o] is the
    weight of key t - window + 1 + o.

    Args:
        head_num: number of heads; a divisor of the value features.
        activation: g.
        use_bias: learn b_q, b_k, b_v and b_o. Without an activation b_k cancels in the softmax.
        kernel_initializer, kernel_regularizer, kernel_constraint: of every kernel; the initializer is cloned for each.
        bias_initializer, bias_regularizer, bias_constraint: of every bias.
        history_only: a query sees only keys at its own position and before.
        window: a query sees only keys with |query - key| < window, at a cost of tokens x window; None for all keys.
            Needs as many keys as queries.
    """

    def __init__(
        self,
        head_num: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_normal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        history_only: bool = False,
        window: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if head_num < 1:
            raise ValueError(f"Expected head_num of at least 1. Received head_num={head_num}.")
        if window is not None and window < 1:
            raise ValueError(f"Expected a window of at least 1, or None for all keys. Received window={window}.")
        self.head_num = head_num
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.history_only = history_only
        self.window = window

    def build(self, input_shape: Any) -> None:
        separate = isinstance(input_shape[0], list | tuple)
        queries, keys, values = [shape[-1] for shape in (input_shape if separate else [input_shape] * 3)]
        if values % self.head_num:
            raise ValueError(
                f"Expected value features divisible by head_num. Received {values} with head_num={self.head_num}."
            )
        # keras-multi-head has its weights in this order.
        self.query_kernel, self.query_bias = self._add_linear_map("query", queries, values)  # W_q, b_q
        self.key_kernel, self.key_bias = self._add_linear_map("key", keys, values)  # W_k, b_k
        self.value_kernel, self.value_bias = self._add_linear_map("value", values, values)  # W_v, b_v
        self.output_kernel, self.output_bias = self._add_linear_map("output", values, values)  # W_o, b_o

    def call(
        self, inputs: Any, mask: Any = None, return_attention_scores: bool = False, return_band: bool = False
    ) -> Tensor | tuple[Tensor, ...]:
        if return_band and self.window is None:
            raise ValueError("Expected a window for return_band=True. Received window=None.")
        query_mask, key_mask = self._masks(mask)
        states = inputs if isinstance(inputs, list | tuple) else [inputs] * 3
        masked = [zero_padding(each, own) for each, own in zip(states, (query_mask, key_mask, key_mask), strict=True)]
        queries = self._heads(masked[0], self.query_kernel, self.query_bias)  # [batch, heads, query, size]
        keys = self._heads(masked[1], self.key_kernel, self.key_bias)  # [batch, heads, key, size]
        values = self._heads(masked[2], self.value_kernel, self.value_bias)  # [batch, heads, key, size]
        if self.window is None:
            visible = visible_keys(queries, keys, key_mask, causal=self.history_only)
            context, weights = attend(queries, keys, values, query_mask, visible)
        else:
            window = self._window_of(queries, keys)
            context, weights = attend_nearby(queries, keys, values, query_mask, key_mask, window)
        output = self._linear_map(merge_heads(context), self.output_kernel, self.output_bias)
        output = zero_padding(output, query_mask)  # [batch, query, value features]
        maps = None
        if return_attention_scores:
            maps = weights if self.window is None else band_to_map(weights, window)
        return outputs(output, maps, weights if return_band else None)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Tensor | None:
        return previous_mask[0] if isinstance(previous_mask, list | tuple) else previous_mask

    def _masks(self, mask: Any) -> tuple[Tensor | None, Tensor | None]:
        """Masks of the queries, and of the keys and values."""
        if not isinstance(mask, list | tuple):
            return mask, mask
        query_mask, key_mask, value_mask = mask
        if key_mask is None or value_mask is None:
            return query_mask, value_mask if key_mask is None else key_mask
        return query_mask, ops.logical_and(key_mask, value_mask)

    def _window_of(self, queries: Tensor, keys: Tensor) -> Window:
        if queries.shape[2] is not None and keys.shape[2] is not None and queries.shape[2] != keys.shape[2]:
            raise ValueError(
                f"Expected as many keys as queries with a window. Received {queries.shape[2]} queries and "
                f"{keys.shape[2]} keys."
            )
        assert self.window is not None
        return Window(self.window - 1, 0 if self.history_only else self.window - 1)

    def _heads(self, states: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        """Project and split into heads: [batch, tokens, features] -> [batch, heads, tokens, size]."""
        return split_heads(self._linear_map(states, kernel, bias), self.head_num)

    def _linear_map(self, states: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        mapped = ops.matmul(states, kernel)
        return self.activation(mapped if bias is None else mapped + bias)

    def _add_linear_map(self, name: str, features: int, units: int) -> tuple[Tensor, Tensor | None]:
        kernel = self._add(f"{name}_kernel", (features, units))
        return kernel, self._add_bias(f"{name}_bias", units) if self.use_bias else None
