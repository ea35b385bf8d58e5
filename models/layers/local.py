"""Multi-head self-attention to the nearest tokens, at a cost of tokens x window."""

from typing import Any

import keras
from keras import ops

from models.layers.heads import HeadedSelfAttention, attend_nearby, merge_heads
from models.layers.interleaving import interleaved, restored, restored_maps
from models.masking import Tensor, zero_padding
from models.windows import Window, band_to_map


@keras.saving.register_keras_serializable("heed")
class LocalSelfAttention(HeadedSelfAttention):
    """A query sees itself and some keys on either side, next to it or in steps of `rate`.

        Q_h = x W_Q,h,  K_h = x W_K,h,  V_h = x W_V,h
        A_h = softmax over the real keys i + k rate, |k| <= neighbors, of (Q_h K_h^T / sqrt(key_size))
        output = [A_1 V_1 | ... | A_H V_H]

    The local attention of bojone/attention, close to the local half of Child et al. 2019, "Generating Long Sequences
    with Sparse Transformers" (arXiv 1904.10509). There a neighbour before the start or after the end of the text is a
    zero that takes weight unless there is a mask; here it never does. Time and memory grow with tokens x window.

    Input: float[batch, tokens, features]; mask bool[batch, tokens].
    Output: float[batch, tokens, heads * size_per_head], zeros on padding; with `return_attention_scores=True` also the
    maps float[batch, heads, query, key], whole, 0 wherever a query does not look; with `return_band=True`, if rate is
    1, also the band float[batch, heads, tokens, width], whose entry [t, o] is the weight of key t - neighbors + o;
    with `return_values=True` also the values float[batch, tokens, heads * size_per_head].

    Args:
        heads: how many maps there are.
        size_per_head: features of a value; the output has heads * size_per_head.
        key_size: features of a query and of a key of one head; None for size_per_head.
        neighbors: how many keys a query sees on each side, or before it alone if causal.
        rate: the distance from one neighbour to the next.
        **kwargs: causal, kernel_initializer, kernel_regularizer and kernel_constraint, as of MultiHeadSelfAttention.
    """

    def __init__(
        self,
        heads: int,
        size_per_head: int,
        key_size: int | None = None,
        *,
        neighbors: int = 1,
        rate: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(heads, size_per_head, key_size, **kwargs)
        if neighbors < 1 or rate < 1:
            raise ValueError(f"Expected neighbors and a rate of at least 1. Received {neighbors} and {rate}.")
        self.neighbors = neighbors
        self.rate = rate

    @property
    def window(self) -> Window:
        """The keys that a query sees, in steps of `rate`."""
        return Window(self.neighbors, 0 if self.causal else self.neighbors)

    def call(
        self,
        inputs: Tensor,
        mask: Tensor | None = None,
        return_attention_scores: bool = False,
        return_band: bool = False,
        return_values: bool = False,
    ) -> Tensor | tuple[Tensor, ...]:
        if return_band and self.rate > 1:
            raise ValueError(f"Expected a rate of 1, where a band is asked for. Received rate={self.rate}.")
        tokens = ops.shape(inputs)[1]
        states, real = interleaved(zero_padding(inputs, mask), mask, self.rate)  # [batch * rate, rows, features]
        queries, keys, values = self._project(states, states)
        context, band = attend_nearby(queries, keys, values, real, real, self.window)
        output = restored(merge_heads(context), self.rate, tokens)  # [batch, tokens, heads * size_per_head]
        others = []
        if return_attention_scores:
            others.append(restored_maps(band_to_map(band, self.window), self.rate, tokens))
        if return_band:
            others.append(band)
        if return_values:
            others.append(restored(merge_heads(values), self.rate, tokens))
        return (output, *others) if others else output

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "neighbors": self.neighbors, "rate": self.rate}
