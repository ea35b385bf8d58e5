"""From a ClassifierConfig to a Keras model that says where it looked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import keras

from models.config import ClassifierConfig
from models.layers import (
    AdditiveAttentionPooling,
    LinearHead,
    MaskedConvolution,
    MaskedPooling,
    PaddingMask,
    ScaledDotProductSelfAttention,
    SeqSelfAttention,
    TokenWeights,
)
from models.masking import Tensor
from models.tokenizer import PAD_ID

HEAD = "head"
EMBEDDING = "embedding"


@dataclass(frozen=True, slots=True)
class MechanismFacts:
    """What a bundle's card says of a mechanism, and how its attention layer is made.

    Attributes:
        attention_is: whether the token weights are exactly those by which the values are summed.
        token_weight_rule: how the mechanism's map reduces to one weight per token, in words.
        layer: makes the attention layer of a config.
    """

    attention_is: Literal["exact", "approximate"]
    token_weight_rule: str
    layer: Callable[[ClassifierConfig], keras.layers.Layer]


_COLUMN_RULE = "mean over the real query positions of each key's column in the attention map"

MECHANISMS: dict[str, MechanismFacts] = {
    "additive_pooling": MechanismFacts(
        "exact",
        "the pooling weights themselves, over the states of the encoder",
        lambda config: AdditiveAttentionPooling(config.attention_units, name="attention"),
    ),
    "dot_product": MechanismFacts(
        "exact", _COLUMN_RULE, lambda config: ScaledDotProductSelfAttention(name="attention")
    ),
    "seq_additive": MechanismFacts(
        "exact", _COLUMN_RULE, lambda config: SeqSelfAttention(config.attention_units, name="attention")
    ),
    "seq_multiplicative": MechanismFacts(
        "exact", _COLUMN_RULE, lambda config: SeqSelfAttention(attention_type="multiplicative", name="attention")
    ),
}


def build_classifier(config: ClassifierConfig) -> keras.Model:
    """The classifier of `config`, with fresh weights.

    Input: ids int32[batch, tokens], `PAD_ID` on padding, which may stand on either side.
    Output: {"logits": float32[batch, labels], "attention": float32[batch, tokens], "contributions": float32[batch,
    tokens]}. The attention is at least 0, exactly 0 on padding and sums to 1 over the real tokens; what the
    contributions add up to is said in `LinearHead`. A row with no real token gives zeros.
    """
    ids = keras.Input((None,), dtype="int32", name="ids")
    mask = PaddingMask(PAD_ID, name="mask")(ids)
    states = keras.layers.Embedding(config.vocabulary_size, config.embedding_dim, name=EMBEDDING)(ids)
    if config.embedding_dropout:
        states = keras.layers.SpatialDropout1D(config.embedding_dropout, name="embedding_dropout")(states)
    if config.token_dropout:
        states = keras.layers.Dropout(config.token_dropout, noise_shape=(None, None, 1), name="token_dropout")(states)
    states = _encode(config, states, mask)  # [batch, tokens, features]
    pooled, coefficients, weights = _attend(config, states, mask)
    outputs = LinearHead(config.labels, dropout=config.dropout, name=HEAD)(pooled, states, coefficients)
    weights = keras.layers.Activation("linear", dtype="float32", name="weights")(weights)
    return without_cudnn(keras.Model(ids, {**outputs, "attention": weights}, name="classifier"))


def without_cudnn(model: keras.Model) -> keras.Model:
    """`model`, its recurrent encoder kept from cuDNN; a saved model does not hold that, so every loaded one needs it.

    cuDNN refuses padding on the left and rows with no token, and XLA cannot compile its kernels.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.Bidirectional):
            for one_way in (layer.forward_layer, layer.backward_layer):
                one_way.use_cudnn = False
                one_way.supports_jit = True
    return model


def _encode(config: ClassifierConfig, states: Tensor, mask: Tensor) -> Tensor:
    """The states that the attention looks at: float[batch, tokens, features]."""
    if config.encoder == "none":
        return states
    if config.encoder == "convolution":
        return MaskedConvolution(config.encoder_units, config.kernel_size, name="encoder")(states, mask=mask)
    recurrent = {"bilstm": keras.layers.LSTM, "bigru": keras.layers.GRU}[config.encoder]
    one_way = recurrent(config.encoder_units, return_sequences=True, dropout=config.recurrent_inputs_dropout)
    return keras.layers.Bidirectional(one_way, name="encoder")(states, mask=mask)


def _attend(config: ClassifierConfig, states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The pooled vector, the coefficients r by which it sums the states, and the token weights r / sum(r)."""
    attention = MECHANISMS[config.mechanism].layer(config)
    attended, scores = attention(states, mask=mask, return_attention_scores=True)
    if isinstance(attention, AdditiveAttentionPooling):
        return attended, scores, scores
    pooled, per_query = MaskedPooling(config.pooling, name="pooling")(attended, mask=mask, return_attention_scores=True)
    coefficients = TokenWeights(name="token_weights")(scores, per_query)  # [batch, tokens]
    if config.pooling == "mean":
        return pooled, coefficients, coefficients
    _, share = MaskedPooling("mean", name="mean_share")(attended, mask=mask, return_attention_scores=True)
    return pooled, coefficients, TokenWeights(name="mean_token_weights")(scores, share)
