"""Scaled dot-product attention whose scores add up from block to block (RealFormer)."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from models.layers.scaled_dot_product import attended, dot_product_scores
from models.masking import Tensor, attention_map, zero_padding


@keras.saving.register_keras_serializable("heed")
class ResidualScaledDotProductAttention(keras.layers.Layer):
    """Scaled dot-product attention that adds its scores to those of the block before, and hands the sum on.

        e = Q K^T / sqrt(features) + previous,  A = softmax over the real keys of e,  context = A V

    He et al. 2021, "RealFormer: Transformer Likes Residual Attention" (arXiv 2012.11747). Nothing is learned. Options
    and the order of inputs are those of `keras-self-attention`, but masks may be left out, the first block needs no
    scores of zeros, and the masks of the outputs are those of the outputs.

    Input: [query, key, value, previous] or [x, previous], where x is all three; for the first block [query, key, value]
    or x alone. Query float[batch, queries, features], key float[batch, keys, features], value float[batch, keys,
    width], previous float[batch, queries, keys]. mask: bool[batch, tokens] for all of them, or a list of one for each,
    None where all is real; one for the previous scores is not looked at.
    Output: (context float[batch, queries, width], e float[batch, queries, keys]), and the map A
    float[batch, queries, keys], rows of padded queries and columns of padded keys exactly 0, if it is asked for:

        return_attention_scores=True in the call: (context, A, e), the map second as in every layer of this project
        return_attention=True of the layer: [context, e, A], as in `keras-self-attention`
        neither: [context, e]

    The context is zeros where queries are padded and has the mask of the queries; the others have none. The scores are
    those before any masking, so that the next block can mask its own way, but for padding, where they are 0.

    Args:
        return_attention: every call returns the map as the third output, unless it asks for scores.
        history_only: a query sees no key that stands after it.
    """

    def __init__(self, return_attention: bool = False, history_only: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.return_attention = return_attention
        self.history_only = history_only
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Nothing is learned."""

    def call(
        self, inputs: Tensor | Sequence[Tensor], mask: Any = None, return_attention_scores: bool = False
    ) -> tuple[Tensor, Tensor, Tensor] | list[Tensor]:
        states, mask, previous = _without_previous(inputs, mask)
        query, key, value, query_mask, key_mask = attended(states, mask)
        scores = dot_product_scores(query, key)  # [batch, query, key]
        if previous is not None:
            scores = scores + previous
        weights = attention_map(scores, query_mask, key_mask, causal=self.history_only)
        context = ops.matmul(weights, value)  # [batch, query, width]
        scores = zero_padding(scores, query_mask)
        if key_mask is not None:
            scores = ops.where(ops.expand_dims(key_mask, 1), scores, ops.zeros_like(scores))
        if return_attention_scores:
            return context, weights, scores
        return [context, scores, weights] if self.return_attention else [context, scores]

    def compute_mask(self, inputs: Tensor | Sequence[Tensor], previous_mask: Any = None) -> list[Tensor | None]:
        states, mask, _ = _without_previous(inputs, previous_mask)
        return [attended(states, mask).query_mask, None, *([None] if self.return_attention else [])]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "return_attention": self.return_attention,
            "history_only": self.history_only,
        }

    @staticmethod
    def get_custom_objects() -> dict[str, type[keras.layers.Layer]]:
        """What `keras.models.load_model` needs to read a model of this layer."""
        return {"ResidualScaledDotProductAttention": ResidualScaledDotProductAttention}


def _without_previous(inputs: Tensor | Sequence[Tensor], mask: Any) -> tuple[Any, Any, Tensor | None]:
    """The states, their masks, and the previous scores where there are some: the last of an even number of inputs."""
    given = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    if not 1 <= len(given) <= 4:
        raise ValueError(
            "Expected x, [x, previous], [query, key, value] or [query, key, value, previous]. "
            f"Received a list of {len(given)}."
        )
    if len(given) % 2:
        return given, mask, None
    if isinstance(mask, (list, tuple)):
        mask = list(mask)[: len(given) - 1]
    return given[:-1], mask, given[-1]
