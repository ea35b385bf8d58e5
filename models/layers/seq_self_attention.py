"""Self-attention with learned scores between every pair of positions, additive or multiplicative."""

from typing import Any, Literal

import keras
from keras import ops

from models.masking import Tensor, masked_softmax, zero_padding


@keras.saving.register_keras_serializable("heed")
class SeqSelfAttention(keras.layers.Layer):
    """Each position becomes a weighted mean of all positions; the values are the raw inputs.

        additive:        h_tt' = tanh(x_t W_t + x_t' W_x + b_h),  e_tt' = h_tt' . W_a + b_a
        multiplicative:  e_tt' = x_t W_a x_t'^T + b_a
        A = softmax over the real keys t' of attention_activation(e),  context = A x

    The additive score is that of Bahdanau et al. 2014 as used between positions of one text by Zheng et al. 2018,
    "OpenTag" (arXiv 1806.01264), equations 9 and 10; the layer follows `keras-self-attention`, but masks keys for
    every query, so that no weight falls on padding.

    Input: float[batch, tokens, features]; mask bool[batch, tokens].
    Output: float[batch, tokens, features], zeros on padding, and with `return_attention_scores=True` also the map
    float[batch, query, key]: rows of padded queries and columns of padded keys are exactly 0.

    Args:
        units: width of h; of no effect on multiplicative scores.
        attention_type: "additive" or "multiplicative".
        use_additive_bias: whether b_h is learned.
        use_attention_bias: whether b_a is learned. A softmax does not see it, so it is of no effect, and gets no
            gradient, unless there is an `attention_activation`.
        attention_activation: applied to e before the softmax. "sigmoid" makes the weights nearly uniform: within a
            row no weight can be more than e = 2.718 times another.
        kernel_initializer: of every kernel, each with a seed of its own.
        bias_initializer: of every bias.
        kernel_regularizer: of every kernel.
        kernel_constraint: of every kernel.
    """

    def __init__(
        self,
        units: int = 32,
        attention_type: Literal["additive", "multiplicative"] = "additive",
        *,
        use_additive_bias: bool = True,
        use_attention_bias: bool = True,
        attention_activation: Any = None,
        kernel_initializer: Any = "glorot_normal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        kernel_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if attention_type not in ("additive", "multiplicative"):
            raise ValueError(f"Expected attention_type 'additive' or 'multiplicative'. Received {attention_type!r}.")
        if units < 1:
            raise ValueError(f"Expected units of at least 1. Received units={units}.")
        self.units = units
        self.attention_type = attention_type
        self.use_additive_bias = use_additive_bias
        self.use_attention_bias = use_attention_bias
        self.attention_activation = keras.activations.get(attention_activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        features = input_shape[-1]
        if self.attention_type == "additive":
            self.query_kernel = self._add_kernel("query_kernel", (features, self.units))  # W_t
            self.key_kernel = self._add_kernel("key_kernel", (features, self.units))  # W_x
            self.additive_bias = self._add_bias("additive_bias", self.units, self.use_additive_bias)  # b_h
            self.score_kernel = self._add_kernel("score_kernel", (self.units, 1))  # W_a
        else:
            self.score_kernel = self._add_kernel("score_kernel", (features, features))  # W_a
        self.attention_bias = self._add_bias("attention_bias", 1, self.use_attention_bias)  # b_a

    def call(
        self, inputs: Tensor, mask: Tensor | None = None, return_attention_scores: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        score = self._additive_scores if self.attention_type == "additive" else self._multiplicative_scores
        scores = score(inputs)  # [batch, query, key]
        if self.attention_bias is not None:
            scores = scores + self.attention_bias
        scores = self.attention_activation(scores)
        weights = masked_softmax(scores, None if mask is None else ops.expand_dims(mask, 1))
        weights = zero_padding(weights, mask)
        context = ops.matmul(weights, inputs)  # [batch, query, features]
        return (context, weights) if return_attention_scores else context

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None = None) -> Tensor | None:
        return previous_mask

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "attention_type": self.attention_type,
            "use_additive_bias": self.use_additive_bias,
            "use_attention_bias": self.use_attention_bias,
            "attention_activation": keras.activations.serialize(self.attention_activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
        }

    def _additive_scores(self, inputs: Tensor) -> Tensor:
        queries = ops.matmul(inputs, self.query_kernel)  # [batch, query, units]
        keys = ops.matmul(inputs, self.key_kernel)  # [batch, key, units]
        if self.additive_bias is not None:
            queries = queries + self.additive_bias
        hidden = ops.tanh(ops.expand_dims(queries, 2) + ops.expand_dims(keys, 1))  # [batch, query, key, units]
        return ops.squeeze(ops.matmul(hidden, self.score_kernel), axis=-1)  # [batch, query, key]

    def _multiplicative_scores(self, inputs: Tensor) -> Tensor:
        queries = ops.matmul(inputs, self.score_kernel)  # [batch, query, features]
        return ops.matmul(queries, ops.transpose(inputs, (0, 2, 1)))  # [batch, query, key]

    def _add_kernel(self, name: str, shape: tuple[int | None, ...]) -> Tensor:
        return self.add_weight(
            name=name,
            shape=shape,
            # One initializer object would give kernels of one shape the same values.
            initializer=self.kernel_initializer.clone(),
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )

    def _add_bias(self, name: str, width: int, wanted: bool) -> Tensor | None:
        return self.add_weight(name=name, shape=(width,), initializer=self.bias_initializer) if wanted else None
