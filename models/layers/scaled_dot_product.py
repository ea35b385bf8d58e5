"""Scaled dot-product attention of queries, keys and values that others have made."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from models.masking import Tensor, attention_map


class Attended(NamedTuple):
    """What a dot-product attention looks at: tensors float[batch, tokens, features], masks bool[batch, tokens]."""

    query: Tensor
    key: Tensor
    value: Tensor
    query_mask: Tensor | None
    key_mask: Tensor | None


def attended(inputs: Tensor | Sequence[Tensor], mask: Any) -> Attended:
    """Tell apart one tensor that is all three, or [query, key, value], and the masks that come with them.

    Args:
        inputs: a tensor, or a list of one or three.
        mask: None; or one mask for all; or a list of one for each input, None where all is real, where the last ones
            may be missing. Keys without a mask of their own have that of their values.
    """
    given = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    if len(given) not in (1, 3):
        raise ValueError(f"Expected one tensor, or a list [query, key, value]. Received a list of {len(given)}.")
    if isinstance(mask, (list, tuple)) and len(mask) > len(given):
        raise ValueError(f"Expected no more masks than inputs. Received {len(mask)} masks for {len(given)} inputs.")
    masks = list(mask) if isinstance(mask, (list, tuple)) else [mask] * len(given)
    masks += [None] * (len(given) - len(masks))
    query, key, value = given if len(given) == 3 else given * 3
    query_mask, key_mask, value_mask = masks if len(given) == 3 else masks * 3
    return Attended(query, key, value, query_mask, value_mask if key_mask is None else key_mask)


def dot_product_scores(query: Tensor, key: Tensor) -> Tensor:
    """Scores float[batch, query, key] = q k^T / sqrt(features), of float[batch, query or key, features]."""
    return ops.matmul(query / math.sqrt(query.shape[-1]), ops.transpose(key, (0, 2, 1)))


@keras.saving.register_keras_serializable("heed")
class ScaledDotProductAttention(keras.layers.Layer):
    """Each query becomes a weighted mean of the values, by how much it agrees with their keys.

        A = softmax over the real keys of (Q K^T / sqrt(features)),  context = A V

    Vaswani et al. 2017, "Attention Is All You Need", equation 1. Nothing is learned. Options and the order of inputs
    are those of `keras-self-attention`, but masks may be left out, and no tensor of a call is kept on the layer: ask
    for the map with `return_attention_scores=True`.

    Input: [query float[batch, queries, features], key float[batch, keys, features], value float[batch, keys, width]],
    or one tensor that is all three; mask: bool[batch, tokens] for all of them, or a list of one for each, None where
    all is real. The mask of the keys says what may be seen, that of the queries which rows are zeros.
    Output: float[batch, queries, width], zeros where queries are padded, with the mask of the queries; with
    `return_attention_scores=True` or `return_attention=True` also the map float[batch, queries, keys]: rows of padded
    queries and columns of padded keys are exactly 0.

    Args:
        return_attention: every call returns [context, map], as `keras-self-attention` has it; this project asks in the
            call, by `return_attention_scores=True`, for a tuple of the same.
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
    ) -> Tensor | tuple[Tensor, Tensor] | list[Tensor]:
        query, key, value, query_mask, key_mask = attended(inputs, mask)
        scores = dot_product_scores(query, key)  # [batch, query, key]
        weights = attention_map(scores, query_mask, key_mask, causal=self.history_only)
        context = ops.matmul(weights, value)  # [batch, query, width]
        if return_attention_scores:
            return context, weights
        return [context, weights] if self.return_attention else context

    def compute_mask(self, inputs: Tensor | Sequence[Tensor], previous_mask: Any = None) -> Any:
        query_mask = attended(inputs, previous_mask).query_mask
        return [query_mask, None] if self.return_attention else query_mask

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "return_attention": self.return_attention,
            "history_only": self.history_only,
        }

    @staticmethod
    def get_custom_objects() -> dict[str, type[keras.layers.Layer]]:
        """What `keras.models.load_model` needs to read a model of this layer."""
        return {"ScaledDotProductAttention": ScaledDotProductAttention}
