"""Multi-head self-attention over the nearest tokens and every rate-th one."""

from typing import Any

import keras
from keras import ops

from models.layers.heads import HeadedSelfAttention, merge_heads, scaled
from models.layers.interleaving import padded_to_multiple, spread
from models.layers.outputs import outputs
from models.masking import Tensor, masked_softmax, zero_padding
from models.windows import Window, band_context, band_mask, band_scores, band_to_map


@keras.saving.register_keras_serializable("heed")
class SparseSelfAttention(HeadedSelfAttention):
    """Self-attention in which a query sees the keys less than `rate` away and those at multiples of `rate`.

        Q_h = x W_Q,h,  K_h = x W_K,h,  V_h = x W_V,h
        A_h = softmax over real keys j with |i - j| < rate or (i - j) mod rate = 0 of (Q_h K_h^T / sqrt(key_size))
        output = [A_1 V_1 | ... | A_H V_H]

    Child et al. 2019, "Generating Long Sequences with Sparse Transformers" (arXiv 1904.10509), section 4.2: two such
    layers connect every pair of tokens. In bojone/attention the near keys are also in steps of `rate`, so a query
    misses its neighbours and counts other keys twice; here each key counts once. Cost: tokens x rate + tokens^2 / rate,
    which is tokens^1.5 at a rate near sqrt(tokens).

    Input: float[batch, tokens, features]; mask bool[batch, tokens].
    Output: float[batch, tokens, heads * size_per_head], zeros on padding. With `return_attention_scores=True` also the
    full maps float[batch, heads, query, key], 0 where a query does not look; with `return_values=True` also the values
    float[batch, tokens, heads * size_per_head].

    Args:
        rate: at least 2.
        heads, size_per_head, key_size and **kwargs: as for MultiHeadSelfAttention.
    """

    def __init__(
        self, heads: int, size_per_head: int, key_size: int | None = None, *, rate: int = 2, **kwargs: Any
    ) -> None:
        super().__init__(heads, size_per_head, key_size, **kwargs)
        if rate < 2:
            raise ValueError(f"Expected a rate of at least 2 (use MultiHeadSelfAttention for 1). Received rate={rate}.")
        self.rate = rate

    @property
    def window(self) -> Window:
        """Near keys of a query."""
        return Window(self.rate - 1, 0 if self.causal else self.rate - 1)

    def call(
        self,
        inputs: Tensor,
        mask: Tensor | None = None,
        return_attention_scores: bool = False,
        return_values: bool = False,
    ) -> Tensor | tuple[Tensor, ...]:
        tokens = ops.shape(inputs)[1]
        states, real = padded_to_multiple(zero_padding(inputs, mask), mask, self.rate)  # [batch, rows * rate, features]
        queries, keys, values = self._project(states, states)
        near, strided = self._weights(scaled(queries), keys, real)
        context = band_context(near, values, self.window) + self._strided_context(strided, values)
        maps = band_to_map(near, self.window) + spread(strided) if return_attention_scores else None  # no common key
        return outputs(
            merge_heads(context)[:, :tokens],  # [batch, tokens, heads * size_per_head]
            None if maps is None else maps[:, :, :tokens, :tokens],
            merge_heads(values)[:, :tokens] if return_values else None,
        )

    def _weights(self, queries: Tensor, keys: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """Softmax over near[batch, heads, tokens, width] and strided[batch, heads, rows, rate, rows] keys together."""
        by_rate, keys_by_rate = self._by_remainder(queries), self._by_remainder(keys)
        strided = ops.matmul(by_rate, ops.swapaxes(keys_by_rate, -1, -2))  # [batch, heads, rate, query row, key row]
        strided = ops.transpose(strided, (0, 1, 3, 2, 4))  # [batch, heads, rows, rate, rows]
        near = self._in_rows(band_scores(queries, keys, self.window))  # [batch, heads, rows, rate, width]
        visible = ops.concatenate([self._in_rows(self._near_visible(real)), self._strided_visible(real)], axis=-1)
        visible = ops.logical_and(visible, self._in_rows(real[:, None, :, None]))
        weights = masked_softmax(ops.concatenate([near, strided], axis=-1), visible)
        near, strided = weights[..., : self.window.width], weights[..., self.window.width :]
        return ops.reshape(near, (*ops.shape(queries)[:3], self.window.width)), strided

    def _near_visible(self, real: Tensor) -> Tensor:
        """bool[batch, 1, tokens, width]. Leaves out the query itself, which is a strided key."""
        others = ops.arange(self.window.width) != self.window.before
        return ops.expand_dims(ops.logical_and(band_mask(real, real, self.window), others), 1)

    def _strided_visible(self, real: Tensor) -> Tensor:
        """bool[batch, 1, rows, rate, rows]."""
        keys = ops.transpose(self._in_rows(real[:, None, :, None]), (0, 1, 4, 3, 2))  # [batch, 1, 1, rate, rows]
        row = ops.arange(ops.shape(keys)[-1])
        queries = row[:, None, None]
        return ops.logical_and(keys, queries >= row if self.causal else queries >= 0)

    def _strided_context(self, strided: Tensor, values: Tensor) -> Tensor:
        """[batch, heads, rows, rate, rows] and values[batch, heads, tokens, size] -> [batch, heads, tokens, size]."""
        context = ops.matmul(ops.transpose(strided, (0, 1, 3, 2, 4)), self._by_remainder(values))
        return ops.reshape(ops.transpose(context, (0, 1, 3, 2, 4)), ops.shape(values))

    def _in_rows(self, states: Tensor) -> Tensor:
        """[batch, heads, tokens, last] -> [batch, heads, rows, rate, last]."""
        batch, heads, tokens, last = ops.shape(states)
        return ops.reshape(states, (batch, heads, tokens // self.rate, self.rate, last))

    def _by_remainder(self, states: Tensor) -> Tensor:
        """[batch, heads, tokens, last] -> [batch, heads, rate, rows, last]."""
        return ops.transpose(self._in_rows(states), (0, 1, 3, 2, 4))
