"""Attention layers, one mechanism per file. `CUSTOM_OBJECTS` maps registered names to classes."""

import keras

from models.layers.additive_pooling import AdditiveAttentionPooling
from models.layers.atrous import AtrousSelfAttention
from models.layers.elementwise import ElementwiseSelfAttention
from models.layers.join_ngrams import JoinNgrams
from models.layers.linear_head import LinearHead
from models.layers.local import LocalSelfAttention
from models.layers.masked_convolution import MaskedConvolution
from models.layers.masked_pooling import MaskedPooling
from models.layers.multi_head import MultiHead
from models.layers.multi_head_attention import MultiHeadAttention
from models.layers.multi_head_self_attention import MultiHeadSelfAttention
from models.layers.ngram_attention import NgramAttention
from models.layers.padding_mask import PaddingMask
from models.layers.positions import SinusoidalPositionEmbedding, TrainablePositionEmbedding
from models.layers.remove_mask import RemoveMask
from models.layers.residual_scaled_dot_product_attention import ResidualScaledDotProductAttention
from models.layers.rollout import AttentionRollout
from models.layers.scaled_dot_product_attention import ScaledDotProductAttention
from models.layers.scaled_dot_product_self_attention import ScaledDotProductSelfAttention
from models.layers.seq_self_attention import SeqSelfAttention
from models.layers.seq_weighted import SeqWeightedAttention
from models.layers.source_names import SOURCE_NAMES
from models.layers.sparse import SparseSelfAttention
from models.layers.token_weights import TokenWeights
from models.layers.transformer import TransformerBlock

__all__ = [
    "CUSTOM_OBJECTS",
    "SOURCE_NAMES",
    "AdditiveAttentionPooling",
    "AtrousSelfAttention",
    "AttentionRollout",
    "ElementwiseSelfAttention",
    "JoinNgrams",
    "LinearHead",
    "LocalSelfAttention",
    "MaskedConvolution",
    "MaskedPooling",
    "MultiHead",
    "MultiHeadAttention",
    "MultiHeadSelfAttention",
    "NgramAttention",
    "PaddingMask",
    "RemoveMask",
    "ResidualScaledDotProductAttention",
    "ScaledDotProductAttention",
    "ScaledDotProductSelfAttention",
    "SeqSelfAttention",
    "SeqWeightedAttention",
    "SinusoidalPositionEmbedding",
    "SparseSelfAttention",
    "TokenWeights",
    "TrainablePositionEmbedding",
    "TransformerBlock",
]

CUSTOM_OBJECTS: dict[str, type[keras.layers.Layer]] = {
    name: registered
    for name, registered in keras.saving.get_custom_objects().items()
    if registered.__module__.startswith(f"{__name__}.")
}
