"""N-grams beside another attention, under one linear head."""

from typing import Any

import keras
from keras import ops

from models.layers.base import UnmaskedLayer
from models.masking import Tensor


@keras.saving.register_keras_serializable("heed")
class JoinNgrams(UnmaskedLayer):
    """Put the output of an `NgramAttention` beside that of an attention over states.

        pooled = [sum_t r_t h_t, sum_t n_t],  weight_t = (1 - share) alpha_t + share beta_t

    A linear head over `pooled` adds up both, and a token's value in it is [r_t h_t, n_t], with coefficient 1: its
    contribution stays exact.

    Input: of the attention, pooled float[batch, features], weights alpha float[batch, tokens], values h float[batch,
    tokens, features] and their coefficients r float[batch, tokens]; of the n-grams, pooled float[batch, f], weights
    beta float[batch, tokens] and token values n float[batch, tokens, f].
    Output: float32 pooled [batch, features + f], weights [batch, tokens], values [batch, tokens, features + f] and
    coefficients [batch, tokens], which are 1.

    Args:
        share: part of the n-grams in the token weights, from 0 to 1.
    """

    def __init__(self, share: float = 0.5, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        if not 0 <= share <= 1:
            raise ValueError(f"Expected share from 0 to 1. Received share={share}.")
        self.share = share

    def build(self, *shapes: tuple[int | None, ...]) -> None:
        """Nothing to build."""

    def call(
        self,
        pooled: Tensor,
        weights: Tensor,
        values: Tensor,
        coefficients: Tensor,
        ngram_pooled: Tensor,
        ngram_weights: Tensor,
        ngram_values: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        pooled, weights, values, coefficients, ngram_pooled, ngram_weights, ngram_values = (
            ops.cast(each, "float32")
            for each in (pooled, weights, values, coefficients, ngram_pooled, ngram_weights, ngram_values)
        )
        values = ops.expand_dims(coefficients, -1) * values  # [batch, tokens, features]
        return (
            ops.concatenate([pooled, ngram_pooled], axis=-1),  # [batch, features + f]
            (1 - self.share) * weights + self.share * ngram_weights,
            ops.concatenate([values, ngram_values], axis=-1),  # [batch, tokens, features + f]
            ops.ones_like(weights),
        )
