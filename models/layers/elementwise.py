"""Self-attention whose projections are one gain per feature instead of a matrix."""

import math
from typing import Any

import keras
from keras import ops

from models.layers.base import BaseLayer
from models.layers.outputs import outputs
from models.layers.positions import check_length, table_rows
from models.masking import Tensor, attention_map, zero_padding


@keras.saving.register_keras_serializable("heed")
class ElementwiseSelfAttention(BaseLayer):
    """Each position becomes a weighted mean of all positions, with one gain per feature for queries, keys and values.

        q = x * g_q,  k = x * g_k,  v = x * g_v,  A = softmax over real keys of (q k^T / scale),  context = A v

    Products with g are elementwise, so the score is a weighted sum over features of x_id x_jd: a diagonal bilinear
    form. This is the hand-written Keras layer often copied as `MyAttention`, whose weights are tied to one text length,
    start near 0 and ignore padding.

    Input: float[batch, tokens, features]; mask bool[batch, tokens].
    Output: float[batch, tokens, features], zeros on padding. With `return_attention_scores=True` also the map
    float[batch, query, key], where rows of padded queries and columns of padded keys are exactly 0; with
    `return_values=True` also v, float[batch, tokens, features], zeros on padding, so that context = A v.

    Args:
        max_length: None to share the gains among all positions. Otherwise each of the first `max_length` tokens has its
            own gains and later ones share the last; positions count real tokens, so the side of the padding does not
            matter. Without a mask, more tokens than this are an error if their number is known.
        scale: divides the scores; None for sqrt(features). The source's `key_size` k is scale=sqrt(k), where k is 8 by
            default for any number of features.
        gain_initializer, gain_regularizer, gain_constraint: of each gain. With "ones" the layer starts as scaled
            dot-product self-attention.
    """

    def __init__(
        self,
        max_length: int | None = None,
        scale: float | None = None,
        *,
        gain_initializer: Any = "ones",
        gain_regularizer: Any = None,
        gain_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if max_length is not None and max_length < 1:
            raise ValueError(f"Expected max_length of at least 1, or None. Received max_length={max_length}.")
        if scale is not None and scale <= 0:
            raise ValueError(f"Expected a positive scale, or None for sqrt(features). Received scale={scale}.")
        self.max_length = max_length
        self.scale = scale
        self.gain_initializer = keras.initializers.get(gain_initializer)
        self.gain_regularizer = keras.regularizers.get(gain_regularizer)
        self.gain_constraint = keras.constraints.get(gain_constraint)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        shape = (self.max_length or 1, input_shape[-1])
        self.query_gain = self._add("query_gain", shape, "gain")
        self.key_gain = self._add("key_gain", shape, "gain")
        self.value_gain = self._add("value_gain", shape, "gain")

    def call(
        self,
        inputs: Tensor,
        mask: Tensor | None = None,
        return_attention_scores: bool = False,
        return_values: bool = False,
    ) -> Tensor | tuple[Tensor, ...]:
        rows = None if self.max_length is None else table_rows(inputs, mask, self.max_length)
        scale = math.sqrt(inputs.shape[-1]) if self.scale is None else self.scale
        queries = inputs * self._at(self.query_gain, rows) / scale
        keys = inputs * self._at(self.key_gain, rows)
        values = zero_padding(inputs * self._at(self.value_gain, rows), mask)
        scores = ops.matmul(queries, ops.transpose(keys, (0, 2, 1)))  # [batch, query, key]
        weights = attention_map(scores, mask, mask)
        context = ops.matmul(weights, values)  # [batch, query, features]
        return outputs(context, weights if return_attention_scores else None, values if return_values else None)

    def compute_output_spec(
        self,
        inputs: keras.KerasTensor,
        mask: keras.KerasTensor | None = None,
        return_attention_scores: bool = False,
        return_values: bool = False,
    ) -> keras.KerasTensor | tuple[keras.KerasTensor, ...]:
        # Keras would infer this by a trial run, for which some backends invent a number of tokens.
        if self.max_length is not None:
            check_length(inputs, mask, self.max_length)
        context, values = (keras.KerasTensor(inputs.shape, self.compute_dtype) for _ in range(2))
        weights = keras.KerasTensor((*inputs.shape[:2], inputs.shape[1]), self.compute_dtype)
        return outputs(context, weights if return_attention_scores else None, values if return_values else None)

    def _at(self, gain: Tensor, rows: Tensor | None) -> Tensor:
        return gain if rows is None else ops.take(gain, rows, axis=0)  # [batch or 1, tokens or 1, features]
