"""Convolution over the tokens that ignores padding."""

from typing import Any

import keras

from models.layers.base import BaseLayer
from models.masking import Tensor, zero_padding


@keras.saving.register_keras_serializable("heed")
class MaskedConvolution(BaseLayer):
    """One-dimensional convolution that reads zeros beyond either end of the text.

        o_t = activation(sum_d m_(t+d) x_(t+d) W_d + b) on real positions t, 0 on padding

    `keras.layers.Conv1D` reads the vectors of padding as if they were tokens.

    Input: float[batch, tokens, features]; mask bool[batch, tokens]. Output: float[batch, tokens, filters].

    Args:
        filters: output features.
        kernel_size: tokens under the kernel; odd, so that it is centred.
        activation: any Keras activation.
    """

    def __init__(self, filters: int, kernel_size: int = 5, *, activation: Any = "relu", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"Expected an odd kernel_size, to be centred on a token. Received {kernel_size}.")
        self.filters = filters
        self.kernel_size = kernel_size
        self.activation = keras.activations.get(activation)
        self.convolution = keras.layers.Conv1D(
            filters, kernel_size, padding="same", activation=self.activation, dtype=self.dtype_policy
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.convolution.build(input_shape)

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        return zero_padding(self.convolution(zero_padding(inputs, mask)), mask)  # [batch, tokens, filters]
