"""Multi-head self-attention without biases or output projection."""

import keras

from models.layers.heads import HeadedSelfAttention, attend, merge_heads, visible_keys
from models.layers.outputs import outputs
from models.masking import Tensor, zero_padding


@keras.saving.register_keras_serializable("heed")
class MultiHeadSelfAttention(HeadedSelfAttention):
    """Several attention maps over separate projections; the outputs of the heads are concatenated.

        Q_h = x W_Q,h,  K_h = c W_K,h,  V_h = c W_V,h
        A_h = softmax over real visible keys of (Q_h K_h^T / sqrt(key_size))
        output = [A_1 V_1 | ... | A_H V_H]

    Vaswani et al. 2017, "Attention Is All You Need" (arXiv 1706.03762), section 3.2.2, without biases and W_O, as in
    bojone/attention; c = x unless a context is given. Without W_O each head keeps its own block of output features, so
    a linear head on top splits exactly into contributions of single tokens.

    Input: float[batch, tokens, features]; mask bool[batch, tokens].
    `call` also takes context float[batch, keys, context features] with context_mask bool[batch, keys], the source of
    keys and values; and attention_mask bool[query, key] or bool[batch, query, key], True where a query may look.
    Output: float[batch, tokens, heads * size_per_head], zeros on padding and for queries that see no key. With
    `return_attention_scores=True` also the maps float[batch, heads, query, key]: rows of padded queries and columns of
    padded keys are exactly 0; with `return_values=True` also the values float[batch, keys, heads * size_per_head].

    Args:
        heads: number of heads.
        size_per_head: value features per head.
        key_size: query and key features per head; None for size_per_head.
        causal: a query sees only itself and earlier keys.
        kernel_initializer, kernel_regularizer, kernel_constraint: of every kernel; the initializer is cloned for each.
    """

    def build(self, inputs_shape: tuple[int | None, ...], context_shape: tuple[int | None, ...] | None = None) -> None:
        self._add_kernels(inputs_shape[-1], (context_shape or inputs_shape)[-1])

    def call(
        self,
        inputs: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        context_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_attention_scores: bool = False,
        return_values: bool = False,
    ) -> Tensor | tuple[Tensor, ...]:
        if mask is None:
            # Keras passes the mask of the input only if the layer is called with a single tensor.
            mask = getattr(inputs, "_keras_mask", None)
        inputs = zero_padding(inputs, mask)
        if context is None:
            context, context_mask = inputs, mask
        queries, keys, values = self._project(inputs, zero_padding(context, context_mask))
        visible = visible_keys(queries, keys, context_mask, attention_mask, self.causal)
        attended, weights = attend(queries, keys, values, mask, visible)
        return outputs(
            merge_heads(attended),  # [batch, tokens, heads * size_per_head]
            weights if return_attention_scores else None,
            merge_heads(values) if return_values else None,
        )
