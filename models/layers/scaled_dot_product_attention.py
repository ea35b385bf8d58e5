"""Scaled dot-product attention over given queries, keys and values."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from models.layers.base import BaseLayer
from models.masking import Tensor, attention_map


def split_inputs(
    inputs: Tensor | Sequence[Tensor], mask: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """Query, key, value and the masks of queries and keys of a layer called with one tensor or [query, key, value].

    Args:
        inputs: a tensor, or a list of one or three.
        mask: None, one mask for all, or a list of masks. Entries may be None, and the last ones may be missing. Keys
            without a mask take that of the values.
    """
    given = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    if len(given) not in (1, 3):
        raise ValueError(f"Expected one tensor or [query, key, value]. Received a list of {len(given)}.")
    if isinstance(mask, (list, tuple)) and len(mask) > len(given):
        raise ValueError(f"Expected no more masks than inputs. Received {len(mask)} masks for {len(given)} inputs.")
    masks = list(mask) if isinstance(mask, (list, tuple)) else [mask] * len(given)
    masks += [None] * (len(given) - len(masks))
    query, key, value = given if len(given) == 3 else given * 3
    query_mask, key_mask, value_mask = masks if len(given) == 3 else masks * 3
    return query, key, value, query_mask, value_mask if key_mask is None else key_mask


def dot_product_scores(query: Tensor, key: Tensor) -> Tensor:
    """Scores q k^T / sqrt(features), float[batch, query, key], of queries and keys float[batch, tokens, features]."""
    return ops.matmul(query / math.sqrt(query.shape[-1]), ops.transpose(key, (0, 2, 1)))


@keras.saving.register_keras_serializable("heed")
class ScaledDotProductAttention(BaseLayer):
    """Each query becomes a mean of the values, weighted by its similarity to their keys.

        A = softmax over real keys of (Q K^T / sqrt(features)),  context = A V

    Vaswani et al. 2017, "Attention Is All You Need", equation 1. Nothing is learned. Options and input order are those
    of `keras-self-attention`, but masks are optional and the layer keeps no tensor of a call.

    Input: [query float[batch, queries, features], key float[batch, keys, features], value float[batch, keys, width]],
    or one tensor for all three; mask: bool[batch, tokens] for all of them, or a list with one or None for each. The
    mask of the keys hides keys; that of the queries zeros rows.
    Output: float[batch, queries, width], zeros where queries are padded, with the mask of the queries. With
    `return_attention_scores=True` or `return_attention=True` also the map float[batch, queries, keys]: rows of padded
    queries and columns of padded keys are exactly 0.

    Args:
        return_attention: every call returns the list [context, map], as in `keras-self-attention`;
            `return_attention_scores=True` in a call returns a tuple instead.
        history_only: a query sees no later key.
    """

    def __init__(self, return_attention: bool = False, history_only: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.return_attention = return_attention
        self.history_only = history_only

    def call(
        self, inputs: Tensor | Sequence[Tensor], mask: Any = None, return_attention_scores: bool = False
    ) -> Tensor | tuple[Tensor, Tensor] | list[Tensor]:
        query, key, value, query_mask, key_mask = split_inputs(inputs, mask)
        scores = dot_product_scores(query, key)  # [batch, query, key]
        weights = attention_map(scores, query_mask, key_mask, causal=self.history_only)
        context = ops.matmul(weights, value)  # [batch, query, width]
        if return_attention_scores:
            return context, weights
        return [context, weights] if self.return_attention else context

    def compute_mask(self, inputs: Tensor | Sequence[Tensor], previous_mask: Any = None) -> Any:
        *_, query_mask, _ = split_inputs(inputs, previous_mask)
        return [query_mask, None] if self.return_attention else query_mask
