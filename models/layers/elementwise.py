"""Self-attention whose projections are one gain per feature instead of a matrix."""

import math
from typing import Any

import keras
from keras import ops

from models.layers.base import BaseLayer
from models.layers.outputs import outputs
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
        gain_initializer: of each gain. With "ones" the layer starts as scaled dot-product self-attention.
        gain_regularizer: of each gain.
        gain_constraint: of each gain.
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
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        shape = (self.max_length or 1, input_shape[-1])
        self.query_gain = self._add_gain("query_gain", shape)
        self.key_gain = self._add_gain("key_gain", shape)
        self.value_gain = self._add_gain("value_gain", shape)

    def call(
        self,
        inputs: Tensor,
        mask: Tensor | None = None,
        return_attention_scores: bool = False,
        return_values: bool = False,
    ) -> Tensor | tuple[Tensor, ...]:
        self._check_length(inputs, mask)
        rows = None if self.max_length is None else self._rows(inputs, mask, self.max_length)
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
        self._check_length(inputs, mask)
        context, values = (keras.KerasTensor(inputs.shape, self.compute_dtype) for _ in range(2))
        weights = keras.KerasTensor((*inputs.shape[:2], inputs.shape[1]), self.compute_dtype)
        return outputs(context, weights if return_attention_scores else None, values if return_values else None)

    def _add_gain(self, name: str, shape: tuple[int | None, ...]) -> Tensor:
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=self.gain_initializer.clone(),  # a shared one would give equal values
            regularizer=self.gain_regularizer,
            constraint=self.gain_constraint,
        )

    def _check_length(self, inputs: Tensor, mask: Tensor | None) -> None:
        tokens = inputs.shape[1]
        if mask is None and self.max_length is not None and isinstance(tokens, int) and tokens > self.max_length:
            raise ValueError(
                f"Expected at most max_length={self.max_length} tokens, or a mask. "
                f"Received inputs of shape {tuple(inputs.shape)}."
            )

    def _rows(self, inputs: Tensor, mask: Tensor | None, max_length: int) -> Tensor:
        """Row of the gains for each token, counted over real tokens: int32[batch, tokens]."""
        real = ops.ones_like(inputs[..., 0], dtype="bool") if mask is None else mask
        return ops.clip(ops.cumsum(ops.cast(real, "int32"), axis=1) - 1, 0, max_length - 1)

    def _at(self, gain: Tensor, rows: Tensor | None) -> Tensor:
        return gain if rows is None else ops.take(gain, rows, axis=0)  # [1, features] or [batch, tokens, features]
