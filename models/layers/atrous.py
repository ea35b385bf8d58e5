"""Multi-head self-attention over every rate-th token."""

from typing import Any

import keras
from keras import ops

from models.layers.heads import HeadedSelfAttention, attend, merge_heads, visible_keys
from models.layers.interleaving import interleaved, restored, restored_maps
from models.layers.outputs import outputs
from models.masking import Tensor, zero_padding


@keras.saving.register_keras_serializable("heed")
class AtrousSelfAttention(HeadedSelfAttention):
    """Self-attention in which a query sees the keys at multiples of `rate` from itself.

        Q_h = x W_Q,h,  K_h = x W_K,h,  V_h = x W_V,h
        A_h = softmax over real keys j with (i - j) mod rate = 0 of (Q_h K_h^T / sqrt(key_size))
        output = [A_1 V_1 | ... | A_H V_H]

    The strided half of Child et al. 2019, "Generating Long Sequences with Sparse Transformers" (arXiv 1904.10509), as
    in bojone/attention. There the zeros that pad a text to a multiple of `rate` take weight unless there is a mask;
    here they never do. Cost: tokens^2 / rate.

    Input: float[batch, tokens, features]; mask bool[batch, tokens].
    Output: float[batch, tokens, heads * size_per_head], zeros on padding. With `return_attention_scores=True` also the
    full maps float[batch, heads, query, key], 0 where a query does not look; with `return_values=True` also the values
    float[batch, tokens, heads * size_per_head].

    Args:
        rate: distance between visible keys; 1 for all keys.
        heads, size_per_head, key_size and **kwargs: as for MultiHeadSelfAttention.
    """

    def __init__(
        self, heads: int, size_per_head: int, key_size: int | None = None, *, rate: int = 1, **kwargs: Any
    ) -> None:
        super().__init__(heads, size_per_head, key_size, **kwargs)
        if rate < 1:
            raise ValueError(f"Expected a rate of at least 1. Received rate={rate}.")
        self.rate = rate

    def call(
        self,
        inputs: Tensor,
        mask: Tensor | None = None,
        return_attention_scores: bool = False,
        return_values: bool = False,
    ) -> Tensor | tuple[Tensor, ...]:
        tokens = ops.shape(inputs)[1]
        states, real = interleaved(zero_padding(inputs, mask), mask, self.rate)  # [batch * rate, rows, features]
        queries, keys, values = self._project(states, states)
        context, weights = attend(queries, keys, values, real, visible_keys(queries, keys, real, causal=self.causal))
        output = restored(merge_heads(context), self.rate, tokens)  # [batch, tokens, heads * size_per_head]
        return outputs(
            output,
            restored_maps(weights, self.rate, tokens) if return_attention_scores else None,
            restored(merge_heads(values), self.rate, tokens) if return_values else None,
        )
