"""Multi-head self-attention over the nearest tokens, at a cost of tokens x window."""

from typing import Any

import keras
from keras import ops

from models.layers.heads import HeadedSelfAttention, attend_nearby, merge_heads
from models.layers.interleaving import interleaved, restored, restored_maps
from models.layers.outputs import outputs
from models.masking import Tensor, zero_padding
from models.windows import Window, band_to_map


@keras.saving.register_keras_serializable("heed")
class LocalSelfAttention(HeadedSelfAttention):
    """Self-attention in which a query sees itself and `neighbors` keys on either side, in steps of `rate`.

        Q_h = x W_Q,h,  K_h = x W_K,h,  V_h = x W_V,h
        A_h = softmax over real keys i + k rate, |k| <= neighbors, of (Q_h K_h^T / sqrt(key_size))
        output = [A_1 V_1 | ... | A_H V_H]

    The local attention of bojone/attention, close to the local half of Child et al. 2019, "Generating Long Sequences
    with Sparse Transformers" (arXiv 1904.10509). There the zeros beyond either end of the text take weight unless there
    is a mask; here they never do. Time and memory grow with tokens x window.

    Input: float[batch, tokens, features]; mask bool[batch, tokens].
    Output: float[batch, tokens, heads * size_per_head], zeros on padding. With `return_attention_scores=True` also the
    full maps float[batch, heads, query, key], 0 where a query does not look; with `return_band=True` (only if rate is
    1) also the band float[batch, heads, tokens, width], whose entry [t, o] is the weight of key t - neighbors + o; with
    `return_values=True` also the values float[batch, tokens, heads * size_per_head].

    Args:
        neighbors: keys on each side of the query; only before it if causal.
        rate: distance from one neighbour to the next.
        heads, size_per_head, key_size and **kwargs: as for MultiHeadSelfAttention.
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
            raise ValueError(f"Expected neighbors and rate of at least 1. Received {neighbors} and {rate}.")
        self.neighbors = neighbors
        self.rate = rate

    @property
    def window(self) -> Window:
        """Keys that a query sees, in steps of `rate`."""
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
            raise ValueError(f"Expected rate=1 for return_band=True. Received rate={self.rate}.")
        tokens = ops.shape(inputs)[1]
        states, real = interleaved(zero_padding(inputs, mask), mask, self.rate)  # [batch * rate, rows, features]
        queries, keys, values = self._project(states, states)
        context, band = attend_nearby(queries, keys, values, real, real, self.window)
        output = restored(merge_heads(context), self.rate, tokens)  # [batch, tokens, heads * size_per_head]
        return outputs(
            output,
            restored_maps(band_to_map(band, self.window), self.rate, tokens) if return_attention_scores else None,
            band if return_band else None,
            restored(merge_heads(values), self.rate, tokens) if return_values else None,
        )
