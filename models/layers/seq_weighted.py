"""Pooling by a linear score of each state."""

from typing import Any

import keras
from keras import ops

from models.masking import Tensor, masked_softmax


@keras.saving.register_keras_serializable("heed")
class SeqWeightedAttention(keras.layers.Layer):
    """Weighted mean of the states, the weights scored by one linear map.

        z_t = x_t . W + b,  a = softmax over the real t of z,  pooled = sum_t a_t x_t

    Felbo et al. 2017, "Using millions of emoji occurrences to learn any-domain representations" (DeepMoji, arXiv
    1708.00524). Options, defaults and the order of weights are those of `keras-self-attention`, where a
    row with no real token is pooled as if it were real.

    Input: float[batch, tokens, features]; mask bool[batch, tokens].
    Output: float[batch, features], and with `return_attention_scores=True` or `return_attention=True` also the weights
    float[batch, tokens]: at least 0, exactly 0 on padding, summing to 1 over the real tokens. A row with no real token
    gives zeros.

    Args:
        use_bias: whether b is learned. A softmax does not see it: it is of no effect, and gets no gradient.
        return_attention: every call returns [pooled, weights], as `keras-self-attention` has it; this project asks in
            the call, by `return_attention_scores=True`, for a tuple of the same.
        kernel_initializer: of W.
        kernel_regularizer: of W.
        kernel_constraint: of W.
    """

    def __init__(
        self,
        use_bias: bool = True,
        return_attention: bool = False,
        *,
        kernel_initializer: Any = "uniform",
        kernel_regularizer: Any = None,
        kernel_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.use_bias = use_bias
        self.return_attention = return_attention
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], 1),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = self.add_weight(name="bias", shape=(1,), initializer="zeros") if self.use_bias else None

    def call(
        self, inputs: Tensor, mask: Tensor | None = None, return_attention_scores: bool = False
    ) -> Tensor | tuple[Tensor, Tensor] | list[Tensor]:
        scores = ops.matmul(inputs, self.kernel)  # [batch, tokens, 1]
        if self.bias is not None:
            scores = scores + self.bias
        weights = masked_softmax(ops.squeeze(scores, axis=-1), mask)  # [batch, tokens]
        pooled = ops.einsum("bt,btf->bf", weights, inputs)  # [batch, features]
        if return_attention_scores:
            return pooled, weights
        return [pooled, weights] if self.return_attention else pooled

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None = None) -> None:
        return None  # the tokens axis is gone

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "use_bias": self.use_bias,
            "return_attention": self.return_attention,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
        }

    @staticmethod
    def get_custom_objects() -> dict[str, type[keras.layers.Layer]]:
        """What `keras.models.load_model` needs to read a model of this layer."""
        return {"SeqWeightedAttention": SeqWeightedAttention}
