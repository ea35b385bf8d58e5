"""Scaled dot-product self-attention without parameters: every state asks, answers and is averaged as it is."""

import math
from typing import Any

import keras
from keras import ops

from models.masking import Tensor, attention_map


@keras.saving.register_keras_serializable("heed")
class ScaledDotProductSelfAttention(keras.layers.Layer):
    """Each position becomes the mean of all positions, weighted by how much their states agree with its own.

        A = softmax over the real keys of (h h^T / scale),  context = A h

    Vaswani et al. 2017, "Attention Is All You Need", equation 1 with query = key = value = h. Summed over positions
    it is the pooling often copied as `attention_1`, whose padding takes part and whose sum grows with the text.

    Input: float[batch, tokens, features]; mask bool[batch, tokens].
    Output: float[batch, tokens, features], zeros on padding, and with `return_attention_scores=True` also the map
    float[batch, query, key]: rows of padded queries and columns of padded keys are exactly 0.

    Args:
        scale: what the scores are divided by; None for sqrt(features).
    """

    def __init__(self, scale: float | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if scale is not None and scale <= 0:
            raise ValueError(f"Expected a positive scale, or None for sqrt(features). Received scale={scale}.")
        self.scale = scale
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Nothing is learned."""

    def call(
        self, inputs: Tensor, mask: Tensor | None = None, return_attention_scores: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        scale = math.sqrt(inputs.shape[-1]) if self.scale is None else self.scale
        scores = ops.matmul(inputs / scale, ops.transpose(inputs, (0, 2, 1)))  # [batch, query, key]
        weights = attention_map(scores, mask, mask)
        context = ops.matmul(weights, inputs)  # [batch, query, features]
        return (context, weights) if return_attention_scores else context

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None = None) -> Tensor | None:
        return previous_mask

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}
