"""Attention pooling with one learned query."""

import math
from typing import Any, Literal

import keras
from keras import ops

from models.layers.base import UnmaskedLayer
from models.masking import Tensor, masked_softmax


@keras.saving.register_keras_serializable("heed")
class AdditiveAttentionPooling(UnmaskedLayer):
    """Weighted mean of the states. The weight of a state depends on that state alone.

        tanh:    u_t = activation(h_t W + b),  z_t = u_t . c
        linear:  z_t = h_t . w + b
        dot:     z_t = h_t . w / sqrt(features)
        a = softmax over real t of z / temperature,  pooled = sum_t a_t h_t

    "tanh" is Yang et al. 2016, "Hierarchical Attention Networks for Document Classification", equations 5 to 7;
    without the bias it is the pooling often copied as `attention_2`. "tanh" with units = features / 2, and "dot", are
    the attentions of Jain and Wallace 2019, "Attention is not Explanation".

    Input: float[batch, tokens, features]; mask bool[batch, tokens].
    Output: float[batch, features]. With `return_attention_scores=True` also the weights float[batch, tokens]:
    nonnegative, exactly 0 on padding, summing to 1 over real tokens. A row without real tokens gives zeros.

    Args:
        units: width of u; only for "tanh".
        score: "tanh", "linear" or "dot".
        temperature: divides the scores. Values above 1 even the weights out.
        use_bias: learn b; ignored for "dot". The b of "linear" cancels in the softmax and gets no gradient.
        activation: Keras activation of u; only for "tanh".
        kernel_initializer: of W and w.
        bias_initializer: of b.
        query_initializer: of c.
        kernel_regularizer, kernel_constraint: of W, w and c.
    """

    def __init__(
        self,
        units: int = 64,
        score: Literal["tanh", "linear", "dot"] = "tanh",
        *,
        temperature: float = 1.0,
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
        if score not in ("tanh", "linear", "dot"):
            raise ValueError(f"Expected score 'tanh', 'linear' or 'dot'. Received {score!r}.")
        if temperature <= 0:
            raise ValueError(f"Expected a positive temperature. Received temperature={temperature}.")
        self.units = units
        self.score = score
        self.temperature = temperature
        self.use_bias = use_bias
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.query_initializer = keras.initializers.get(query_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        width = self.units if self.score == "tanh" else 1
        self.kernel = self._add("kernel", (input_shape[-1], width), initializer=self.kernel_initializer)  # W or w
        self.bias = None
        if self.use_bias and self.score != "dot":
            self.bias = self.add_weight(name="bias", shape=(width,), initializer=self.bias_initializer)  # b
        self.query = None
        if self.score == "tanh":
            self.query = self._add("query", (width, 1), initializer=self.query_initializer)  # c

    def call(
        self, inputs: Tensor, mask: Tensor | None = None, return_attention_scores: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        scores = ops.matmul(inputs, self.kernel)  # [batch, tokens, units or 1]
        if self.bias is not None:
            scores = scores + self.bias
        if self.query is not None:
            scores = ops.matmul(self.activation(scores), self.query)  # [batch, tokens, 1]
        scale = self.temperature * (math.sqrt(inputs.shape[-1]) if self.score == "dot" else 1)
        weights = masked_softmax(ops.squeeze(scores, axis=-1) / scale, mask)  # [batch, tokens]
        pooled = ops.einsum("bt,btf->bf", weights, inputs)  # [batch, features]
        return (pooled, weights) if return_attention_scores else pooled
