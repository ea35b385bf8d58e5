"""One weight per token, from an attention map and pooling coefficients."""

from typing import Any

import keras
from keras import ops

from models.layers.base import UnmaskedLayer
from models.masking import Tensor
from models.windows import Window, band_column_sums


@keras.saving.register_keras_serializable("heed")
class TokenWeights(UnmaskedLayer):
    """Weight of each position in the pooled vector, through the attention map.

        context = A v,  pooled = u context   =>   pooled = (u A) v,  coefficients = u A

    Exact for the values v that the map was applied to. Several heads have separate coefficients, each exact for the
    values of its head.

    Input: the map A, float[batch, query, key] or float[batch, heads, query, key], and the pooling coefficients u,
    float[batch, query].
    Output: float[batch, key] or float[batch, heads, key].

    Args:
        window: (before, after) if the map is the band of a local attention, float[batch, (heads,) query, before + 1 +
            after]; None for a full map.
        head_mean: average the heads: float[batch, key]. This is approximate, because the values differ between heads.
    """

    def __init__(self, window: tuple[int, int] | None = None, *, head_mean: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.window = None if window is None else Window(*window)
        self.head_mean = head_mean

    def build(self, scores_shape: tuple[int | None, ...], coefficients_shape: tuple[int | None, ...]) -> None:
        """Nothing to build."""

    def call(self, scores: Tensor, coefficients: Tensor) -> Tensor:
        if self.window is not None:
            sums = band_column_sums(scores, coefficients, self.window)  # [batch, (heads,) key]
        elif len(scores.shape) == 4:
            sums = ops.einsum("bq,bhqk->bhk", coefficients, scores)  # [batch, heads, key]
        else:
            sums = ops.einsum("bq,bqk->bk", coefficients, scores)  # [batch, key]
        return ops.mean(sums, axis=1) if self.head_mean else sums
