"""Names of attention layers from other sources, and the layer here that computes the same."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras

from models.layers.additive_pooling import AdditiveAttentionPooling
from models.layers.atrous import AtrousSelfAttention
from models.layers.elementwise import ElementwiseSelfAttention
from models.layers.local import LocalSelfAttention
from models.layers.multi_head import MultiHead
from models.layers.multi_head_attention import MultiHeadAttention
from models.layers.multi_head_self_attention import MultiHeadSelfAttention
from models.layers.positions import SinusoidalPositionEmbedding, TrainablePositionEmbedding
from models.layers.residual_scaled_dot_product_attention import ResidualScaledDotProductAttention
from models.layers.scaled_dot_product_attention import ScaledDotProductAttention
from models.layers.scaled_dot_product_self_attention import ScaledDotProductSelfAttention
from models.layers.seq_self_attention import SeqSelfAttention
from models.layers.seq_weighted import SeqWeightedAttention
from models.layers.sparse import SparseSelfAttention
from models.layers.transformer import TransformerBlock


class SourceName(NamedTuple):
    """The counterpart of a layer or function of another source.

    Attributes:
        source: its author or the title of the article.
        arguments: make our layer compute what the source does with its defaults, on texts without padding and with the
            same weights. Arguments without a default in the source are examples.
        difference: what else differs.
    """

    source: str
    layer: type[keras.layers.Layer]
    arguments: Mapping[str, Any]
    difference: str


_SU = "Su Jianlin, bojone/attention"
_KERAS_SELF_ATTENTION, _KERAS_MULTI_HEAD = "keras-self-attention 0.51", "keras-multi-head 0.29"
_EXAMPLE_HEADS = {"heads": 8, "size_per_head": 16}

# Names include their module if they have one: several sources have an `Attention`.
SOURCE_NAMES: Mapping[str, SourceName] = {
    "MyAttention": SourceName(
        "“在Keras中自定义Attention层”, 2021",
        ElementwiseSelfAttention,
        {"scale": math.sqrt(8)},
        "`key_size` is `scale` squared; `max_length` gives gains per position; gains start at 1, not near 0",
    ),
    "attention_1": SourceName(
        "“Attention的两种实现方法”",
        ScaledDotProductSelfAttention,
        {},
        'gives the context of every position; add `MaskedPooling("sum")` or `MaskedPooling("mean")`',
    ),
    "attention_2": SourceName(
        "“Attention的两种实现方法”",
        AdditiveAttentionPooling,
        {"use_bias": False},
        "`units` is free; in the source it is the width of the states",
    ),
    "SelfAttentionLayer": SourceName(
        "“keras自注意力机制”, 2024",
        TransformerBlock,
        {"num_heads": 8, "key_dim": 64},
        "the block that the article describes; its own code does not run",
    ),
    "attention_keras.Attention": SourceName(
        _SU,
        MultiHeadSelfAttention,
        _EXAMPLE_HEADS,
        "takes a `context` for other keys and values; `mask_right` is `causal`, or `attention_mask` in the call; "
        "its default in the source makes all weights equal",
    ),
    "attention_keras.SelfAttention": SourceName(
        _SU, MultiHeadSelfAttention, _EXAMPLE_HEADS, "`mask_right=True` is `causal=True`"
    ),
    "attention_keras.AtrousSelfAttention": SourceName(
        _SU,
        AtrousSelfAttention,
        {**_EXAMPLE_HEADS, "rate": 1},
        "`rate` is keyword-only; zeros that fill the last stride get no weight",
    ),
    "attention_keras.LocalSelfAttention": SourceName(
        _SU,
        LocalSelfAttention,
        {**_EXAMPLE_HEADS, "neighbors": 1},
        "`neighbors` and `rate` are keyword-only; positions beyond the ends of the text get no weight",
    ),
    "attention_keras.SparseSelfAttention": SourceName(
        _SU,
        SparseSelfAttention,
        {**_EXAMPLE_HEADS, "rate": 2},
        "`rate` is keyword-only; sees the keys the source describes, whose code misses the nearest",
    ),
    "attention_keras.Position_Embedding": SourceName(
        _SU, SinusoidalPositionEmbedding, {"layout": "halves"}, "positions count real tokens only"
    ),
    "attention_keras.SinCosPositionEmbedding": SourceName(
        _SU,
        SinusoidalPositionEmbedding,
        {"layout": "interleaved"},
        "`merge_mode` is `merge`, `v_dim` is `size`; positions count real tokens only, from 0",
    ),
    "attention_keras.TrainablePositionEmbedding": SourceName(
        _SU,
        TrainablePositionEmbedding,
        {"max_length": 400},
        "`maxlen` is `max_length`, others as above; positions past the table share its last row",
    ),
    "keras_self_attention.SeqSelfAttention": SourceName(
        _KERAS_SELF_ATTENTION, SeqSelfAttention, {}, 'no query looks at padding, unless `mask_mode="upstream"`'
    ),
    "keras_self_attention.SeqWeightedAttention": SourceName(
        _KERAS_SELF_ATTENTION,
        SeqWeightedAttention,
        {},
        "padding gets exactly no weight; a text of only padding gives zeros",
    ),
    "keras_self_attention.ScaledDotProductAttention": SourceName(
        _KERAS_SELF_ATTENTION, ScaledDotProductAttention, {}, "padded queries give zeros"
    ),
    "keras_self_attention.ResidualScaledDotProductAttention": SourceName(
        _KERAS_SELF_ATTENTION,
        ResidualScaledDotProductAttention,
        {},
        "the previous scores and the masks are optional",
    ),
    "keras_multi_head.MultiHead": SourceName(
        _KERAS_MULTI_HEAD,
        MultiHead,
        # An explicit name leaves Keras' automatic layer names unchanged.
        {"layer": SeqSelfAttention(name="copied"), "stack": True},
        "`layer_num` is `heads`; takes no list of layers; the penalty has a gradient",
    ),
    "keras_multi_head.MultiHeadAttention": SourceName(
        _KERAS_MULTI_HEAD,
        MultiHeadAttention,
        {"head_num": 8, "activation": "relu"},
        "linear by default; maps are [batch, heads, query, key]",
    ),
    "keras.layers.Attention": SourceName(
        "Keras 3",
        ScaledDotProductSelfAttention,
        {"scale": 1.0},
        "takes one tensor; divides by sqrt(features) by default; weights of padded queries are 0 too",
    ),
    "keras.layers.AdditiveAttention": SourceName(
        "Keras 3",
        SeqSelfAttention,
        {"use_additive_bias": False, "use_attention_bias": False},
        "projects queries and keys; equal with identity kernels",
    ),
    "keras.layers.MultiHeadAttention": SourceName(
        "Keras 3",
        MultiHeadAttention,
        {"head_num": 8},
        "one tensor or [query, key, value], in this order; `key_dim` is features / `head_num`",
    ),
    "torch.nn.MultiheadAttention": SourceName(
        "PyTorch 2",
        MultiHeadAttention,
        {"head_num": 8},
        "a mask is True for tokens, not for padding; kernels are transposed",
    ),
    "torch.nn.TransformerEncoderLayer": SourceName(
        "PyTorch 2",
        TransformerBlock,
        {"num_heads": 8, "ff_dim": 2048, "activation": "relu", "dropout": 0.1, "epsilon": 1e-5},
        '`norm_first=True` is `norm="pre"`; a mask is True for tokens; kernels are transposed',
    ),
}
