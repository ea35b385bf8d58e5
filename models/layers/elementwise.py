"""Self-attention whose projections are gains: one number a feature instead of a matrix."""

import math
from typing import Any

import keras
from keras import ops

from models.masking import Tensor, attention_map, zero_padding


@keras.saving.register_keras_serializable("heed")
class ElementwiseSelfAttention(keras.layers.Layer):
    """Each position becomes a weighted mean of all positions, their features gained for asking, answering and giving.

        q = x * g_q,  k = x * g_k,  v = x * g_v,  A = softmax over the real keys of (q k^T / scale),  context = A v

    The products with g are element by element, so that the score is a weighted sum over features of x_id x_jd: a
    diagonal bilinear form. It is the hand-written Keras layer often copied as `MyAttention`, whose weights belong to
    one text length, start near 0 and know no padding.

    Input: float[batch, tokens, features]; mask bool[batch, tokens].
    Output: float[batch, tokens, features], zeros on padding; with `return_attention_scores=True` also the map
    float[batch, query, key], where rows of padded queries and columns of padded keys are exactly 0; with
    `return_values=True` also v, float[batch, tokens, features], zeros on padding, so that context = A v.

    Args:
        max_length: None for gains that all positions share. Otherwise each of the first `max_length` tokens has gains
            of its own and those after it share the last ones; positions are counted over real tokens, so it does not
            matter where a text is padded. Without a mask more tokens than this are refused, where their number is
            known when the layer is called or traced.
        scale: what the scores are divided by; None for sqrt(features). The `key_size` k of the source is
            scale=sqrt(k), and 8 there by default, whatever the features.
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
        if not (return_attention_scores or return_values):
            return context
        return (context, *([weights] if return_attention_scores else []), *([values] if return_values else []))

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None = None) -> Tensor | None:
        return previous_mask

    def compute_output_spec(
        self,
        inputs: keras.KerasTensor,
        mask: keras.KerasTensor | None = None,
        return_attention_scores: bool = False,
        return_values: bool = False,
    ) -> keras.KerasTensor | tuple[keras.KerasTensor, ...]:
        # Said here and not found by a trial run, for which some backends make up a number of tokens.
        self._check_length(inputs, mask)
        context, values = (keras.KerasTensor(inputs.shape, self.compute_dtype) for _ in range(2))
        weights = keras.KerasTensor((*inputs.shape[:2], inputs.shape[1]), self.compute_dtype)
        if not (return_attention_scores or return_values):
            return context
        return (context, *([weights] if return_attention_scores else []), *([values] if return_values else []))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "max_length": self.max_length,
            "scale": self.scale,
            "gain_initializer": keras.initializers.serialize(self.gain_initializer),
            "gain_regularizer": keras.regularizers.serialize(self.gain_regularizer),
            "gain_constraint": keras.constraints.serialize(self.gain_constraint),
        }

    def _add_gain(self, name: str, shape: tuple[int | None, ...]) -> Tensor:
        return self.add_weight(
            name=name,
            shape=shape,
            # One initializer object would give all three the same values.
            initializer=self.gain_initializer.clone(),
            regularizer=self.gain_regularizer,
            constraint=self.gain_constraint,
        )

    def _check_length(self, inputs: Tensor, mask: Tensor | None) -> None:
        tokens = inputs.shape[1]
        if mask is None and self.max_length is not None and isinstance(tokens, int) and tokens > self.max_length:
            raise ValueError(
                f"Expected at most max_length={self.max_length} tokens where no mask says which of them are real. "
                f"Received inputs of shape {tuple(inputs.shape)}."
            )

    def _rows(self, inputs: Tensor, mask: Tensor | None, max_length: int) -> Tensor:
        """Which row of the gains a token takes, counted over real tokens: int32[batch, tokens]."""
        real = ops.ones_like(inputs[..., 0], dtype="bool") if mask is None else mask
        return ops.clip(ops.cumsum(ops.cast(real, "int32"), axis=1) - 1, 0, max_length - 1)

    def _at(self, gain: Tensor, rows: Tensor | None) -> Tensor:
        return gain if rows is None else ops.take(gain, rows, axis=0)  # [1, features] or [batch, tokens, features]
