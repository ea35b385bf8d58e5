"""Mean or sum over the real positions."""

from typing import Any, Literal

import keras
from keras import ops

from models.layers.base import UnmaskedLayer
from models.masking import Tensor, uniform_weights, zero_padding


@keras.saving.register_keras_serializable("heed")
class MaskedPooling(UnmaskedLayer):
    """Mean or sum over the real positions.

        mean: pooled = sum over real t of x_t / n      sum: pooled = sum over real t of x_t

    A row without real tokens gives zeros, where `keras.layers.GlobalAveragePooling1D` gives NaN.

    Input: float[batch, tokens, features]; mask bool[batch, tokens].
    Output: float[batch, features]. With `return_attention_scores=True` also the coefficients float[batch, tokens] of
    the sum: 1/n (or 1) on real tokens, 0 on padding.

    Args:
        mode: "mean" or "sum". A sum grows with the length of the text.
    """

    def __init__(self, mode: Literal["mean", "sum"] = "mean", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if mode not in ("mean", "sum"):
            raise ValueError(f"Expected mode 'mean' or 'sum'. Received {mode!r}.")
        self.mode = mode

    def call(
        self, inputs: Tensor, mask: Tensor | None = None, return_attention_scores: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        real = ops.ones_like(inputs[..., 0], dtype="bool") if mask is None else mask  # [batch, tokens]
        if self.mode == "mean":
            coefficients = uniform_weights(real, self.compute_dtype)
        else:
            coefficients = ops.cast(real, self.compute_dtype)
        pooled = ops.einsum("bt,btf->bf", coefficients, zero_padding(inputs, mask))  # [batch, features]
        return (pooled, coefficients) if return_attention_scores else pooled
