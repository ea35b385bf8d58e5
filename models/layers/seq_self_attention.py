"""Self-attention with learned scores between all positions, the nearest, or the earlier ones."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import keras
from keras import ops

from models.layers.additive_scores import additive_scores
from models.layers.base import BaseLayer
from models.masking import Tensor, attention_map, masked_softmax
from models.windows import (
    Window,
    band_context,
    band_distance_from_identity,
    band_mask,
    band_scores,
    band_to_map,
    dot_scores,
)

_UPSTREAM_UNLIMITED_WIDTH = 1_000_000_000  # saved by keras-self-attention for history_only without a width
_UPSTREAM_PENALTY = 10000.0  # subtracted by keras-self-attention from a masked score


@keras.saving.register_keras_serializable("heed")
class SeqSelfAttention(BaseLayer):
    """Each position becomes a weighted mean of the inputs it sees.

        additive:        h_tt' = tanh(x_t W_t + x_t' W_x + b_h),  e_tt' = h_tt' . W_a + b_a
        multiplicative:  e_tt' = x_t W_a x_t'^T + b_a
        A = softmax over real visible keys t' of attention_activation(e) / scale,  context = A x

    The additive score is that of Bahdanau et al. 2014, used between positions of one text by Zheng et al. 2018,
    "OpenTag" (arXiv 1806.01264), equations 9 and 10. Options and their order are those of `keras-self-attention`
    0.51.0, whose weights it loads; but keys are masked for every query, so no weight falls on padding. With an
    `attention_width`, time and memory grow with tokens x width.

    Input: float[batch, tokens, features]; mask bool[batch, tokens].
    Output: float[batch, tokens, features], zeros on padding. With `return_attention_scores=True` also the map
    float[batch, query, key]: rows of padded queries and columns of padded keys are exactly 0; with `return_band=True`
    also the band float[batch, tokens, width], whose entry [t, o] is the weight of key t - window.before + o.

    Args:
        units: width of h; only for additive scores.
        attention_width: number of keys t sees, from t - width // 2 on (an even width reaches one further back than
            ahead), or with `history_only` the last ones up to t. None for all.
        attention_type: "additive" or "multiplicative".
        return_attention: every call returns the list [context, map].
        history_only: t sees no later key.
        kernel_initializer, kernel_regularizer, kernel_constraint: of every kernel; the initializer is cloned for each.
        bias_initializer, bias_regularizer, bias_constraint: of every bias.
        use_additive_bias: learn b_h.
        use_attention_bias: learn b_a. Without an `attention_activation` it cancels in the softmax and gets no gradient.
        attention_activation: applied to e before the softmax. With "sigmoid" no weight in a row can be more than
            e = 2.718 times another, unless a `scale` below 1 spreads them.
        attention_regularizer_weight: adds this times the mean over texts of ||A A^T - I||^2 / n to the loss, over the n
            real rows. It pushes each position to look at a key of its own, away from maps in which all positions look
            at the few words that matter.
        scale: divides the scores before the softmax; None for 1. sqrt(features) keeps multiplicative scores of wide
            inputs from saturating it.
        mask_mode: "keys", or "upstream" to reproduce keras-self-attention on padding: weight falls on it, rows of
            padded queries are not 0, and the full map is computed whatever the width. Only for comparison.
    """

    ATTENTION_TYPE_ADD = "additive"
    ATTENTION_TYPE_MUL = "multiplicative"

    def __init__(
        self,
        units: int = 32,
        attention_width: int | None = None,
        attention_type: Literal["additive", "multiplicative"] = "additive",
        return_attention: bool = False,
        history_only: bool = False,
        kernel_initializer: Any = "glorot_normal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_additive_bias: bool = True,
        use_attention_bias: bool = True,
        attention_activation: Any = None,
        attention_regularizer_weight: float = 0.0,
        *,
        scale: float | None = None,
        mask_mode: Literal["keys", "upstream"] = "keys",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if attention_type not in (self.ATTENTION_TYPE_ADD, self.ATTENTION_TYPE_MUL):
            raise ValueError(f"Expected attention_type 'additive' or 'multiplicative'. Received {attention_type!r}.")
        if units < 1:
            raise ValueError(f"Expected units of at least 1. Received units={units}.")
        if attention_width is not None and attention_width < 1:
            raise ValueError(f"Expected an attention_width of at least 1, or None. Received {attention_width}.")
        if attention_regularizer_weight < 0:
            raise ValueError(
                f"Expected an attention_regularizer_weight of at least 0. Received {attention_regularizer_weight}."
            )
        if scale is not None and scale <= 0:
            raise ValueError(f"Expected a positive scale, or None for 1. Received scale={scale}.")
        if mask_mode not in ("keys", "upstream"):
            raise ValueError(f"Expected mask_mode 'keys' or 'upstream'. Received {mask_mode!r}.")
        if history_only and attention_width is not None and attention_width >= _UPSTREAM_UNLIMITED_WIDTH:
            attention_width = None
        self.units = units
        self.attention_width = attention_width
        self.attention_type = attention_type
        self.return_attention = return_attention
        self.history_only = history_only
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.use_additive_bias = use_additive_bias
        self.use_attention_bias = use_attention_bias
        self.attention_activation = keras.activations.get(attention_activation)
        self.attention_regularizer_weight = attention_regularizer_weight
        self.scale = scale
        self.mask_mode = mask_mode

    @property
    def window(self) -> Window | None:
        """Keys that a query sees; None without an `attention_width`."""
        if self.attention_width is None:
            return None
        before = self.attention_width - 1 if self.history_only else self.attention_width // 2
        return Window(before, self.attention_width - 1 - before)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        features = input_shape[-1]
        # keras-self-attention has its weights in this order.
        if self.attention_type == self.ATTENTION_TYPE_ADD:
            self.query_kernel = self._add("query_kernel", (features, self.units))  # W_t
            self.key_kernel = self._add("key_kernel", (features, self.units))  # W_x
            self.additive_bias = self._add_bias("additive_bias", self.units) if self.use_additive_bias else None  # b_h
            self.score_kernel = self._add("score_kernel", (self.units, 1))  # W_a
        else:
            self.score_kernel = self._add("score_kernel", (features, features))  # W_a
        self.attention_bias = self._add_bias("attention_bias", 1) if self.use_attention_bias else None  # b_a

    def call(
        self,
        inputs: Tensor,
        mask: Tensor | None = None,
        return_attention_scores: bool = False,
        return_band: bool = False,
    ) -> Tensor | tuple[Tensor, ...] | list[Tensor]:
        return_map = return_attention_scores or self.return_attention
        if self.window is not None and self.mask_mode == "keys":
            outputs = self._attend_nearby(self.window, inputs, mask, return_map, return_band)
        elif return_band:
            raise ValueError(
                "Expected an attention_width and mask_mode 'keys' for return_band=True. "
                f"Received attention_width={self.attention_width} and mask_mode {self.mask_mode!r}."
            )
        else:
            outputs = self._attend(inputs, mask, return_map)
        if len(outputs) == 1:
            return outputs[0]
        # `return_attention` gives a list as upstream does; arguments of the call give a tuple.
        return outputs if return_attention_scores or return_band else list(outputs)

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None = None) -> Any:
        return [previous_mask, None] if self.return_attention else previous_mask

    @classmethod
    def get_custom_objects(cls) -> dict[str, type[keras.layers.Layer]]:
        """Return the `custom_objects` to load a model with this layer, saved here or by keras-self-attention."""
        return {"SeqSelfAttention": cls, "heed>SeqSelfAttention": cls}

    def _attend(self, inputs: Tensor, mask: Tensor | None, return_map: bool) -> tuple[Tensor, ...]:
        scores = self._scores(inputs, lambda queries, keys, score: score(queries, keys))  # [batch, query, key]
        if self.mask_mode == "keys":
            weights = attention_map(scores, mask, mask, causal=self.history_only)
        else:
            weights = self._upstream_map(scores, mask)
        self._regularize(_distance_from_identity, weights, mask)
        context = ops.matmul(weights, inputs)  # [batch, query, features]
        return (context, weights) if return_map else (context,)

    def _attend_nearby(
        self, window: Window, inputs: Tensor, mask: Tensor | None, return_map: bool, return_band: bool
    ) -> tuple[Tensor, ...]:
        scores = self._scores(inputs, partial(band_scores, window=window))  # [batch, tokens, width]
        rows = None if mask is None else ops.expand_dims(mask, -1)
        band = masked_softmax(scores, band_mask(mask, inputs, window), rows=rows)
        self._regularize(partial(band_distance_from_identity, window=window), band, mask)
        context = band_context(band, inputs, window)  # [batch, tokens, features]
        maps = [band_to_map(band, window)] if return_map else []
        return (context, *maps, *([band] if return_band else []))

    def _scores(self, inputs: Tensor, between: Callable[..., Tensor]) -> Tensor:
        """Scores of the pairs that `between` forms: all pairs, or a band."""
        if self.attention_type == self.ATTENTION_TYPE_ADD:
            queries = ops.matmul(inputs, self.query_kernel)  # [batch, query, units]
            keys = ops.matmul(inputs, self.key_kernel)  # [batch, key, units]
            if self.additive_bias is not None:
                queries = queries + self.additive_bias
            scores = between(queries, keys, score=partial(additive_scores, kernel=self.score_kernel[:, 0]))
        else:
            queries = ops.matmul(inputs, self.score_kernel)  # [batch, query, features]
            scores = between(queries, inputs, score=dot_scores)
        if self.attention_bias is not None:
            scores = scores + self.attention_bias
        scores = self.attention_activation(scores)
        return scores if self.scale is None else scores / self.scale

    def _upstream_map(self, scores: Tensor, mask: Tensor | None) -> Tensor:
        """The map of keras-self-attention, which penalises only pairs of two padded positions."""
        if self.window is not None or self.history_only:
            positions = ops.arange(ops.shape(scores)[1], dtype="int32")
            offsets = ops.expand_dims(positions, 0) - ops.expand_dims(positions, 1)  # [query, key]
            sees = offsets <= (0 if self.window is None else self.window.after)
            if self.window is not None:
                sees = ops.logical_and(sees, offsets >= -self.window.before)
            scores = scores - _UPSTREAM_PENALTY * (1 - ops.cast(sees, scores.dtype))
        if mask is not None:
            padding = 1 - ops.cast(mask, scores.dtype)
            scores = scores - _UPSTREAM_PENALTY * (ops.expand_dims(padding, 2) * ops.expand_dims(padding, 1))
        return masked_softmax(scores, None)

    def _regularize(self, distance: Callable[..., Tensor], weights: Tensor, mask: Tensor | None) -> None:
        """Add the attention regulariser to the loss."""
        if self.attention_regularizer_weight == 0:
            return
        weights = ops.cast(weights, "float32")
        if self.mask_mode == "upstream":
            penalties = distance(weights, mask=None)  # [batch]
        else:
            real = ops.ones_like(weights[:, :, 0]) if mask is None else ops.cast(mask, "float32")
            penalties = distance(weights, mask=mask) / ops.maximum(ops.sum(real, axis=1), 1)
        self.add_loss(self.attention_regularizer_weight * ops.mean(penalties))


def _distance_from_identity(weights: Tensor, mask: Tensor | None) -> Tensor:
    """||A A^T - I||^2 over the real rows of each map[batch, query, key]: float[batch]."""
    products = ops.matmul(weights, ops.swapaxes(weights, 1, 2))  # [batch, query, query]
    positions = ops.arange(ops.shape(weights)[1], dtype="int32")
    identity = ops.expand_dims(positions, 1) == positions
    if mask is not None:
        identity = ops.logical_and(identity, ops.expand_dims(mask, 1))
    return ops.sum(ops.square(products - ops.cast(identity, weights.dtype)), axis=(1, 2))
