"""Scaled dot-product attention with scores accumulated from block to block (RealFormer)."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from models.layers.scaled_dot_product_attention import (
    ScaledDotProductAttention,
    dot_product_scores,
    split_inputs,
)
from models.masking import Tensor, attention_map, zero_padding


@keras.saving.register_keras_serializable("heed")
class ResidualScaledDotProductAttention(ScaledDotProductAttention):
    """Scaled dot-product attention that adds the scores of the previous block and passes the sum on.

        e = Q K^T / sqrt(features) + previous,  A = softmax over real keys of e,  context = A V

    He et al. 2021, "RealFormer: Transformer Likes Residual Attention" (arXiv 2012.11747). Nothing is learned. Options
    and input order are those of `keras-self-attention`, but masks are optional, the first block needs no scores, and
    `compute_mask` gives the masks of the outputs.

    Input: [query, key, value, previous] or [x, previous], where x is all three; for the first block [query, key, value]
    or x alone. Query float[batch, queries, features], key float[batch, keys, features], value float[batch, keys,
    width], previous float[batch, queries, keys]. mask: bool[batch, tokens] for all of them, or a list with one or None
    for each; the mask of the previous scores is ignored.
    Output: the context float[batch, queries, width], the scores e float[batch, queries, keys] and on request the map A
    float[batch, queries, keys], whose rows of padded queries and columns of padded keys are exactly 0:

        return_attention_scores=True in the call: the tuple (context, A, e), the map second as in every layer here
        return_attention=True of the layer: the list [context, e, A], as in `keras-self-attention`
        neither: the list [context, e]

    The context is zeros where queries are padded and has the mask of the queries; the others have none. The scores are
    0 on padding and otherwise unmasked, so that the next block applies its own mask.

    Args:
        return_attention: every call returns the map as third output, unless it asks for scores.
        history_only: a query sees no later key.
    """

    def call(
        self, inputs: Tensor | Sequence[Tensor], mask: Any = None, return_attention_scores: bool = False
    ) -> tuple[Tensor, Tensor, Tensor] | list[Tensor]:
        states, mask, previous = _without_previous(inputs, mask)
        query, key, value, query_mask, key_mask = split_inputs(states, mask)
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
        *_, query_mask, _ = split_inputs(states, mask)
        return [query_mask, None, *([None] if self.return_attention else [])]


def _without_previous(inputs: Tensor | Sequence[Tensor], mask: Any) -> tuple[Any, Any, Tensor | None]:
    """Split off the previous scores, the last of an even number of inputs: states, their masks, scores or None."""
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
