"""A Transformer encoder block."""

from functools import partial
from typing import Any, Literal

import keras

from models.layers.base import BaseLayer
from models.layers.heads import attend, attend_nearby, merge_heads, split_heads, visible_keys
from models.masking import Tensor, zero_padding
from models.windows import Window, band_to_map


@keras.saving.register_keras_serializable("heed")
class TransformerBlock(BaseLayer):
    """Multi-head self-attention and a feed-forward network, each with a residual connection.

        post-norm:  y = LN_1(x + MHA(x)),   z = LN_2(y + FFN(y))
        pre-norm:   y = x + MHA(LN_1(x)),   z = y + FFN(LN_2(y))
        MHA(x) = [A_1 V_1 | ... | A_H V_H] W_O + b_O,   A_h = softmax over real keys of (Q_h K_h^T / sqrt(key_dim))
        FFN(y) = activation(y W_1 + b_1) W_2 + b_2

    Vaswani et al. 2017, "Attention Is All You Need" (arXiv 1706.03762), sections 3.1 to 3.3; pre-norm as in Xiong et
    al. 2020, "On Layer Normalization in the Transformer Architecture" (arXiv 2002.04745), which adds one more
    normalisation after the last block. Weights are in the order of the equations: query, key, value, output, LN_1,
    W_1, W_2, LN_2, each kernel before its bias.

    The maps do not give a token's exact share in the output, because residuals, norms and the feed-forward network
    stand in between; `AttentionRollout` approximates it.

    Input: float[batch, tokens, features]; mask bool[batch, tokens].
    Output: float[batch, tokens, features], zeros on padding. With `return_attention_scores=True` also the maps
    float[batch, heads, query, key], before dropout: rows of padded queries and columns of padded keys are exactly 0.

    Args:
        key_dim: query, key and value features per head; None for features / num_heads.
        ff_dim: width of the feed-forward network; None for 4 times the features.
        activation: Keras activation of the feed-forward network; None for linear.
        dropout: dropout rate of each half before its residual connection.
        attention_dropout: dropout rate of the attention weights.
        norm: "post" normalises after each residual connection, "pre" before each half.
        epsilon: added to the variance in both normalisations.
        use_bias: learn biases of the projections and the feed-forward network. The key biases cancel in the softmax.
        kernel_initializer, kernel_regularizer: of every kernel; the initializer is cloned for each.
        causal: a query sees only itself and earlier keys.
        window: a query sees only keys with |query - key| < window, at a cost of tokens x window; None for all keys.
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int | None = None,
        ff_dim: int | None = None,
        activation: Any = "gelu",
        *,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        norm: Literal["post", "pre"] = "post",
        epsilon: float = 1e-6,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        causal: bool = False,
        window: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value in (("num_heads", num_heads), ("key_dim", key_dim), ("ff_dim", ff_dim), ("window", window)):
            if value is not None and value < 1:
                raise ValueError(f"Expected {name} of at least 1. Received {name}={value}.")
        for name, rate in (("dropout", dropout), ("attention_dropout", attention_dropout)):
            if not 0 <= rate < 1:
                raise ValueError(f"Expected {name} of at least 0 and below 1. Received {name}={rate}.")
        if norm not in ("post", "pre"):
            raise ValueError(f"Expected norm 'post' or 'pre'. Received {norm!r}.")
        self.num_heads = num_heads
        self.key_dim = key_dim
        self.ff_dim = ff_dim
        self.activation = keras.activations.get(activation)
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.norm = norm
        self.epsilon = epsilon
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.causal = causal
        self.window = window

    def build(self, input_shape: tuple[int | None, int | None, int]) -> None:
        features = input_shape[-1]
        if self.key_dim is None and features % self.num_heads:
            raise ValueError(
                f"Expected features divisible by num_heads, or a key_dim. Received {features} features with "
                f"num_heads={self.num_heads}."
            )
        width = self.num_heads * (self.key_dim or features // self.num_heads)
        ff_dim = self.ff_dim or 4 * features
        self.query = self._built(self._dense("query", width), features)
        self.key = self._built(self._dense("key", width), features)
        self.value = self._built(self._dense("value", width), features)
        self.attention_output = self._built(self._dense("attention_output", features), width)
        self.attention_norm = self._built(self._norm("attention_norm"), features)
        self.feed_forward = self._built(self._dense("feed_forward", ff_dim, self.activation), features)
        self.feed_forward_output = self._built(self._dense("feed_forward_output", features), ff_dim)
        self.feed_forward_norm = self._built(self._norm("feed_forward_norm"), features)
        self.weight_dropout = keras.layers.Dropout(self.attention_dropout, dtype=self.dtype_policy)
        self.residual_dropout = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy)

    def call(
        self,
        inputs: Tensor,
        mask: Tensor | None = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        states = zero_padding(inputs, mask)
        if self.norm == "post":
            attended, weights = self._attend(states, mask, training)
            states = self.attention_norm(states + self.residual_dropout(attended, training=training))
            states = self.feed_forward_norm(states + self._ffn(states, training))
        else:
            attended, weights = self._attend(self.attention_norm(states), mask, training)
            states = states + self.residual_dropout(attended, training=training)
            states = states + self._ffn(self.feed_forward_norm(states), training)
        output = zero_padding(states, mask)  # [batch, tokens, features]
        if not return_attention_scores:
            return output
        window = self._key_window()
        return output, weights if window is None else band_to_map(weights, window)

    def _attend(self, states: Tensor, mask: Tensor | None, training: bool | None) -> tuple[Tensor, Tensor]:
        """MHA of the states, and its weights: the maps, or with a window a band [batch, heads, token, width]."""
        queries = split_heads(self.query(states), self.num_heads)  # [batch, heads, token, key_dim]
        keys = split_heads(self.key(states), self.num_heads)
        values = split_heads(self.value(states), self.num_heads)
        dropout = partial(self.weight_dropout, training=training)
        window = self._key_window()
        if window is None:
            visible = visible_keys(queries, keys, mask, causal=self.causal)
            context, weights = attend(queries, keys, values, mask, visible, dropout)
        else:
            context, weights = attend_nearby(queries, keys, values, mask, mask, window, dropout)
        return self.attention_output(merge_heads(context)), weights  # [batch, tokens, features]

    def _ffn(self, states: Tensor, training: bool | None) -> Tensor:
        return self.residual_dropout(self.feed_forward_output(self.feed_forward(states)), training=training)

    def _key_window(self) -> Window | None:
        return None if self.window is None else Window(self.window - 1, 0 if self.causal else self.window - 1)

    def _dense(self, name: str, units: int, activation: Any = None) -> keras.layers.Dense:
        return keras.layers.Dense(
            units,
            activation=activation,
            use_bias=self.use_bias,
            kernel_initializer=self.kernel_initializer.clone(),  # a shared one would give equal kernels
            kernel_regularizer=self.kernel_regularizer,
            dtype=self.dtype_policy,
            name=name,
        )

    def _norm(self, name: str) -> keras.layers.LayerNormalization:
        return keras.layers.LayerNormalization(epsilon=self.epsilon, dtype=self.dtype_policy, name=name)

    @staticmethod
    def _built(layer: keras.layers.Layer, features: int) -> keras.layers.Layer:
        layer.build((None, None, features))
        return layer
