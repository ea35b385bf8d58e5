"""Multi-head self-attention whose heads are put side by side, without an output projection."""

import keras

from models.layers.heads import HeadedSelfAttention, attend, merge_heads, visible_keys
from models.masking import Tensor, zero_padding


@keras.saving.register_keras_serializable("heed")
class MultiHeadSelfAttention(HeadedSelfAttention):
    """Several maps at once, each over projections of its own; the outputs of the heads stand side by side.

        Q_h = x W_Q,h,  K_h = c W_K,h,  V_h = c W_V,h
        A_h = softmax over the real keys that the query may see of (Q_h K_h^T / sqrt(key_size))
        output = [A_1 V_1 | ... | A_H V_H]

    Vaswani et al. 2017, "Attention Is All You Need" (arXiv 1706.03762), section 3.2.2, without biases and without
    W_O, as in bojone/attention; c = x unless a context is given. Without W_O the output of each head is still its own
    block of features, so that a linear head on top can be split into exact shares of single tokens.

    Input: float[batch, tokens, features]; mask bool[batch, tokens].
    In `call` also: context float[batch, keys, context features] with context_mask bool[batch, keys], which give keys
    and values instead of the input; and attention_mask bool[query, key] or bool[batch, query, key], True where a
    query may look.
    Output: float[batch, tokens, heads * size_per_head], zeros on padding and where a query sees nothing; with
    `return_attention_scores=True` also the maps float[batch, heads, query, key]: rows of padded queries and columns of
    padded keys are exactly 0; with `return_values=True` also the values float[batch, keys, heads * size_per_head].

    Args:
        heads: how many maps there are.
        size_per_head: features of a value; the output has heads * size_per_head.
        key_size: features of a query and of a key of one head; None for size_per_head.
        causal: whether a query sees only itself and keys before it.
        kernel_initializer: of every kernel, each with a seed of its own.
        kernel_regularizer: of every kernel.
        kernel_constraint: of every kernel.
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
            # Keras hands a layer the mask of its input only if that is the one tensor it is called with.
            mask = getattr(inputs, "_keras_mask", None)
        inputs = zero_padding(inputs, mask)
        if context is None:
            context, context_mask = inputs, mask
        queries, keys, values = self._project(inputs, zero_padding(context, context_mask))
        visible = visible_keys(queries, keys, context_mask, attention_mask, self.causal)
        attended, weights = attend(queries, keys, values, mask, visible)
        output = merge_heads(attended)  # [batch, tokens, heads * size_per_head]
        others = []
        if return_attention_scores:
            others.append(weights)
        if return_values:
            others.append(merge_heads(values))
        return (output, *others) if others else output
