"""Scaled dot-product self-attention without parameters."""

import math
from typing import Any

import keras
from keras import ops

from models.layers.base import BaseLayer
from models.masking import Tensor, attention_map


@keras.saving.register_keras_serializable("heed")
class ScaledDotProductSelfAttention(BaseLayer):
    """Each position becomes a mean of all positions, weighted by the similarity of their states.

        A = softmax over real keys of (h h^T / scale),  context = A h

    Vaswani et al. 2017, "Attention Is All You Need", equation 1 with query = key = value = h. Summed over positions it
    is the pooling often copied as `attention_1`, in which padding takes part and the sum grows with the text.

    Input: float[batch, tokens, features]; mask bool[batch, tokens].
    Output: float[batch, tokens, features], zeros on padding. With `return_attention_scores=True` also the map
    float[batch, query, key]: rows of padded queries and columns of padded keys are exactly 0.

    Args:
        scale: divides the scores; None for sqrt(features).
    """

    def __init__(self, scale: float | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if scale is not None and scale <= 0:
            raise ValueError(f"Expected a positive scale, or None for sqrt(features). Received scale={scale}.")
        self.scale = scale

    def call(
        self, inputs: Tensor, mask: Tensor | None = None, return_attention_scores: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        scale = math.sqrt(inputs.shape[-1]) if self.scale is None else self.scale
        scores = ops.matmul(inputs / scale, ops.transpose(inputs, (0, 2, 1)))  # [batch, query, key]
        weights = attention_map(scores, mask, mask)
        context = ops.matmul(weights, inputs)  # [batch, query, features]
        return (context, weights) if return_attention_scores else context
