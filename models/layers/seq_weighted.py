"""Attention pooling with one linear score per state."""

from typing import Any

import keras
from keras import ops

from models.layers.base import UnmaskedLayer
from models.masking import Tensor, masked_softmax


@keras.saving.register_keras_serializable("heed")
class SeqWeightedAttention(UnmaskedLayer):
    """Weighted mean of the states, scored by one linear map.

        z_t = x_t . W + b,  a = softmax over real t of z,  pooled = sum_t a_t x_t

    Felbo et al. 2017, "Using millions of emoji occurrences to learn any-domain representations" (DeepMoji, arXiv
    1708.00524). Options, defaults and weight order are those of `keras-self-attention`, which pools a row without real
    tokens as if it were real.

    Input: float[batch, tokens, features]; mask bool[batch, tokens].
    Output: float[batch, features]. With `return_attention_scores=True` or `return_attention=True` also the weights
    float[batch, tokens]: nonnegative, exactly 0 on padding, summing to 1 over real tokens. A row without real tokens
    gives zeros.

    Args:
        use_bias: learn b. It cancels in the softmax and gets no gradient.
        return_attention: every call returns the list [pooled, weights], as in `keras-self-attention`;
            `return_attention_scores=True` in a call returns a tuple instead.
        kernel_initializer, kernel_regularizer, kernel_constraint: of W.
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

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.kernel = self._add("kernel", (input_shape[-1], 1), initializer=self.kernel_initializer)
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
