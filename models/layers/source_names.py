"""The names people come with, and which layer here computes what they computed."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import keras

from models.layers.additive_pooling import AdditiveAttentionPooling
from models.layers.atrous import AtrousSelfAttention
from models.layers.dot_product import ScaledDotProductSelfAttention
from models.layers.elementwise import ElementwiseSelfAttention
from models.layers.keras_multi_head import MultiHeadAttention
from models.layers.local import LocalSelfAttention
from models.layers.multi_head import MultiHeadSelfAttention
from models.layers.multi_head_of import MultiHead
from models.layers.positions import SinusoidalPositionEmbedding, TrainablePositionEmbedding
from models.layers.residual_scaled_dot_product import ResidualScaledDotProductAttention
from models.layers.scaled_dot_product import ScaledDotProductAttention
from models.layers.seq_self_attention import SeqSelfAttention
from models.layers.seq_weighted import SeqWeightedAttention
from models.layers.sparse import SparseSelfAttention
from models.layers.transformer import TransformerBlock


class SourceName(NamedTuple):
    """What became of a layer or a function of one of the sources.

    source: who wrote it, or the title of the write-up it was copied from.
    layer: our class.
    arguments: with these ours computes what the source computes with its defaults, on texts without padding and with
        the same weights. What has no default there is an example.
    difference: what else there is to know.
    """

    source: str
    layer: type[keras.layers.Layer]
    arguments: Mapping[str, Any]
    difference: str


_SU = "Su Jianlin, bojone/attention"
_KERAS_SELF_ATTENTION, _KERAS_MULTI_HEAD = "keras-self-attention 0.51", "keras-multi-head 0.29"
_EXAMPLE_HEADS = {"heads": 8, "size_per_head": 16}

# Names that are imported from a module are given with it: several sources have an `Attention`.
SOURCE_NAMES: Mapping[str, SourceName] = MappingProxyType(
    {
        "MyAttention": SourceName(
            "“在Keras中自定义Attention层”, 2021",
            ElementwiseSelfAttention,
            {"scale": math.sqrt(8)},
            "`key_size` is `scale` squared; for gains of each position give `max_length`; gains start at 1, not near 0",
        ),
        "attention_1": SourceName(
            "“Attention的两种实现方法”",
            ScaledDotProductSelfAttention,
            {},
            'the context of every position: sum it with `MaskedPooling("sum")`, or take the mean',
        ),
        "attention_2": SourceName(
            "“Attention的两种实现方法”",
            AdditiveAttentionPooling,
            {"use_bias": False},
            "`units` is free; there it is the width of the states",
        ),
        "SelfAttentionLayer": SourceName(
            "“keras自注意力机制”, 2024",
            TransformerBlock,
            {"num_heads": 8, "key_dim": 64},
            "the block that the text describes; its own code does not run",
        ),
        "attention_keras.Attention": SourceName(
            _SU,
            MultiHeadSelfAttention,
            _EXAMPLE_HEADS,
            "takes a `context` if keys and values are not the queries; `mask_right` is `causal`, or `attention_mask` "
            "in the call; its default there makes every weight the same",
        ),
        "attention_keras.SelfAttention": SourceName(
            _SU, MultiHeadSelfAttention, _EXAMPLE_HEADS, "`mask_right=True` is `causal=True`"
        ),
        "attention_keras.AtrousSelfAttention": SourceName(
            _SU,
            AtrousSelfAttention,
            {**_EXAMPLE_HEADS, "rate": 1},
            "`rate` is given by name; zeros that fill up the last stride take no weight",
        ),
        "attention_keras.LocalSelfAttention": SourceName(
            _SU,
            LocalSelfAttention,
            {**_EXAMPLE_HEADS, "neighbors": 1},
            "`neighbors` and `rate` are given by name; what is beyond the ends of the text takes no weight",
        ),
        "attention_keras.SparseSelfAttention": SourceName(
            _SU,
            SparseSelfAttention,
            {**_EXAMPLE_HEADS, "rate": 2},
            "`rate` is given by name; sees what the source describes, whose code misses the nearest",
        ),
        "attention_keras.Position_Embedding": SourceName(
            _SU, SinusoidalPositionEmbedding, {"layout": "halves"}, "counts real tokens alone"
        ),
        "attention_keras.SinCosPositionEmbedding": SourceName(
            _SU,
            SinusoidalPositionEmbedding,
            {"layout": "interleaved"},
            "`merge_mode` is `merge`, `v_dim` is `size`; counts real tokens alone, and always from the first",
        ),
        "attention_keras.TrainablePositionEmbedding": SourceName(
            _SU,
            TrainablePositionEmbedding,
            {"max_length": 400},
            "`maxlen` is `max_length`, the rest as above; positions past the table share its last row",
        ),
        "keras_self_attention.SeqSelfAttention": SourceName(
            _KERAS_SELF_ATTENTION, SeqSelfAttention, {}, 'no query looks at padding, unless `mask_mode="upstream"`'
        ),
        "keras_self_attention.SeqWeightedAttention": SourceName(
            _KERAS_SELF_ATTENTION,
            SeqWeightedAttention,
            {},
            "padding takes no weight at all; a text of nothing else gives zeros",
        ),
        "keras_self_attention.ScaledDotProductAttention": SourceName(
            _KERAS_SELF_ATTENTION, ScaledDotProductAttention, {}, "padded queries give zeros"
        ),
        "keras_self_attention.ResidualScaledDotProductAttention": SourceName(
            _KERAS_SELF_ATTENTION,
            ResidualScaledDotProductAttention,
            {},
            "the previous scores and the masks may be left out",
        ),
        "keras_multi_head.MultiHead": SourceName(
            _KERAS_MULTI_HEAD,
            MultiHead,
            # Named, so that importing this uses up no name that Keras gives to the next layer.
            {"layer": SeqSelfAttention(name="copied"), "stack": True},
            "`layer_num` is `heads`, and a list of layers none; the penalty has a gradient",
        ),
        "keras_multi_head.MultiHeadAttention": SourceName(
            _KERAS_MULTI_HEAD,
            MultiHeadAttention,
            {"head_num": 8, "activation": "relu"},
            "linear unless an `activation` is given; maps are [batch, heads, query, key]",
        ),
        "keras.layers.Attention": SourceName(
            "Keras 3",
            ScaledDotProductSelfAttention,
            {"scale": 1.0},
            "of one tensor; divides by sqrt(features) unless told; weights of padded queries are 0 too",
        ),
        "keras.layers.AdditiveAttention": SourceName(
            "Keras 3",
            SeqSelfAttention,
            {"use_additive_bias": False, "use_attention_bias": False},
            "projects queries and keys; with identity matrices for kernels it is the same",
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
            "a mask is True where there is a token, not where there is none; kernels are transposed",
        ),
        "torch.nn.TransformerEncoderLayer": SourceName(
            "PyTorch 2",
            TransformerBlock,
            {"num_heads": 8, "ff_dim": 2048, "activation": "relu", "dropout": 0.1, "epsilon": 1e-5},
            '`norm_first=True` is `norm="pre"`; a mask is True where there is a token; kernels are transposed',
        ),
    }
)
