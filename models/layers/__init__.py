"""One attention mechanism a file. `CUSTOM_OBJECTS` is every class registered here, by its registered name."""

import keras

from models.layers.additive_pooling import AdditiveAttentionPooling
from models.layers.dot_product import ScaledDotProductSelfAttention
from models.layers.elementwise import ElementwiseSelfAttention
from models.layers.linear_head import LinearHead
from models.layers.masked_convolution import MaskedConvolution
from models.layers.masked_pooling import MaskedPooling
from models.layers.multi_head import MultiHeadSelfAttention
from models.layers.padding_mask import PaddingMask
from models.layers.seq_self_attention import SeqSelfAttention
from models.layers.token_weights import TokenWeights

__all__ = [
    "CUSTOM_OBJECTS",
    "AdditiveAttentionPooling",
    "ElementwiseSelfAttention",
    "LinearHead",
    "MaskedConvolution",
    "MaskedPooling",
    "MultiHeadSelfAttention",
    "PaddingMask",
    "ScaledDotProductSelfAttention",
    "SeqSelfAttention",
    "TokenWeights",
]

CUSTOM_OBJECTS: dict[str, type[keras.layers.Layer]] = {
    name: registered
    for name, registered in keras.saving.get_custom_objects().items()
    if registered.__module__.startswith(f"{__name__}.")
}
