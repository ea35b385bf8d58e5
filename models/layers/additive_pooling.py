"""Additive attention pooling: one learned query looks at every position once."""

from typing import Any

import keras
from keras import ops

from models.masking import Tensor, masked_softmax


@keras.saving.register_keras_serializable("heed")
class AdditiveAttentionPooling(keras.layers.Layer):
    """Weighted mean of the states, the weights scored by a small network.

        u_t = activation(h_t W + b),  z_t = u_t . c,  a = softmax over the real t of z,  pooled = sum_t a_t h_t

    Yang et al. 2016, "Hierarchical Attention Networks for Document Classification", equations 5 to 7. Without the
    bias it is the pooling often copied as `attention_2`.

    Input: float[batch, tokens, features]; mask bool[batch, tokens].
    Output: float[batch, features], and with `return_attention_scores=True` also the weights float[batch, tokens]:
    at least 0, exactly 0 on padding, summing to 1 over the real tokens. A row with no real token gives zeros.

    Args:
        units: width of u.
        use_bias: whether b is learned.
        activation: of u; any Keras activation.
        kernel_initializer: of W.
        bias_initializer: of b.
        query_initializer: of c.
        kernel_regularizer: of W and c.
        kernel_constraint: of W and c.
    """

    def __init__(
        self,
        units: int = 64,
        *,
        use_bias: bool = True,
        activation: Any = "tanh",
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        query_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        kernel_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if units < 1:
            raise ValueError(f"Expected units of at least 1. Received units={units}.")
        self.units = units
        self.use_bias = use_bias
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.query_initializer = keras.initializers.get(query_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], self.units),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.units,), initializer=self.bias_initializer)
        self.query = self.add_weight(
            name="query",
            shape=(self.units, 1),
            initializer=self.query_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )

    def call(
        self, inputs: Tensor, mask: Tensor | None = None, return_attention_scores: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        hidden = ops.matmul(inputs, self.kernel)  # [batch, tokens, units]
        if self.bias is not None:
            hidden = hidden + self.bias
        scores = ops.squeeze(ops.matmul(self.activation(hidden), self.query), axis=-1)  # [batch, tokens]
        weights = masked_softmax(scores, mask)
        pooled = ops.einsum("bt,btf->bf", weights, inputs)  # [batch, features]
        return (pooled, weights) if return_attention_scores else pooled

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None = None) -> None:
        return None  # the tokens axis is gone

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "use_bias": self.use_bias,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "query_initializer": keras.initializers.serialize(self.query_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
        }
