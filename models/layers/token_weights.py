"""From a map between positions, and how the positions are pooled, to one weight per token."""

from typing import Any

import keras
from keras import ops

from models.masking import Tensor


@keras.saving.register_keras_serializable("heed")
class TokenWeights(keras.layers.Layer):
    """How much each position counts in the pooled vector, through the attention map.

        context = A v,  pooled = u context   =>   pooled = (u A) v,  coefficients = u A

    Exact with respect to the values v the map was applied to.

    Input: the map A, float[batch, query, key], and the pooling coefficients u, float[batch, query].
    Output: float[batch, key].
    """

    def build(self, scores_shape: tuple[int | None, ...], coefficients_shape: tuple[int | None, ...]) -> None:
        """Nothing is learned."""

    def call(self, scores: Tensor, coefficients: Tensor) -> Tensor:
        return ops.einsum("bq,bqk->bk", coefficients, scores)  # [batch, key]

    def get_config(self) -> dict[str, Any]:
        return dict(super().get_config())
