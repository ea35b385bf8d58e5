"""Build the Keras model of a ClassifierConfig."""

import keras

from models.attending import beside_ngrams
from models.config import ClassifierConfig
from models.layers import (
    LinearHead,
    MaskedConvolution,
    PaddingMask,
    SinusoidalPositionEmbedding,
    TrainablePositionEmbedding,
)
from models.masking import Tensor
from models.mechanisms import MECHANISMS, attend
from models.tokenizer import PAD_ID

HEAD = "head"
ENCODER = "encoder"
MASK = "mask"
EMBEDDING = "embedding"


def build_classifier(config: ClassifierConfig) -> keras.Model:
    """Build the classifier of `config` with fresh weights.

    Input: ids int32[batch, tokens], `PAD_ID` on padding on either side.
    Output: {"logits": float32[batch, labels], "attention": float32[batch, tokens], "contributions": float32[batch,
    tokens]}. The attention is nonnegative, exactly 0 on padding and sums to 1 over real tokens. `LinearHead` defines
    the contributions, which are missing if the mechanism does more than sum values. A row without real tokens has zero
    attention and contributions.

    Raises:
        ValueError: an unknown or invalid option of the mechanism.
    """
    ids = keras.Input((None,), dtype="int32", name="ids")
    mask = PaddingMask(PAD_ID, name=MASK)(ids)
    states = ids if MECHANISMS[config.mechanism].reads_ids else _states(config, ids, mask)
    attended = beside_ngrams(config, attend(config, states, mask), ids, mask)
    if attended.values is None:
        dropped = keras.layers.Dropout(config.dropout, dtype="float32", name="dropout")(attended.pooled)
        outputs = {"logits": keras.layers.Dense(config.labels, dtype="float32", name=HEAD)(dropped)}
    else:
        head = LinearHead(config.labels, dropout=config.dropout, name=HEAD)
        outputs = head(attended.pooled, attended.values, attended.coefficients)
    weights = keras.layers.Activation("linear", dtype="float32", name="weights")(attended.weights)
    return without_cudnn(keras.Model(ids, {**outputs, "attention": weights}, name="classifier"))


def without_cudnn(model: keras.Model) -> keras.Model:
    """Keep the recurrent encoder of `model` from using cuDNN. Not saved, so call it on every loaded model too.

    cuDNN rejects left padding and rows without tokens, and XLA cannot compile its kernels.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.Bidirectional):
            for one_way in (layer.forward_layer, layer.backward_layer):
                one_way.use_cudnn = False
                one_way.supports_jit = True
    return model


def _states(config: ClassifierConfig, ids: Tensor, mask: Tensor) -> Tensor:
    """The states that the attention looks at: float[batch, tokens, features]."""
    states = keras.layers.Embedding(config.vocabulary_size, config.embedding_dim, name=EMBEDDING)(ids)
    if config.embedding_dropout:
        states = keras.layers.SpatialDropout1D(config.embedding_dropout, name="embedding_dropout")(states)
    if config.token_dropout:
        states = keras.layers.Dropout(config.token_dropout, noise_shape=(None, None, 1), name="token_dropout")(states)
    return _encode(config, _place(config, states, mask), mask)


def _place(config: ClassifierConfig, states: Tensor, mask: Tensor) -> Tensor:
    """Add or concatenate the position embedding: float[batch, tokens, features]."""
    merge = config.position_merge
    if config.position == "sinusoidal":
        return SinusoidalPositionEmbedding(merge=merge, name="position")(states, mask=mask)
    if config.position == "trainable":
        return TrainablePositionEmbedding(config.max_positions, merge=merge, name="position")(states, mask=mask)
    return states


def _encode(config: ClassifierConfig, states: Tensor, mask: Tensor) -> Tensor:
    """Apply the encoder: float[batch, tokens, features]."""
    if config.encoder == "none":
        return states
    if config.encoder == "convolution":
        return MaskedConvolution(config.encoder_units, config.kernel_size, name=ENCODER)(states, mask=mask)
    recurrent = {"bilstm": keras.layers.LSTM, "bigru": keras.layers.GRU}[config.encoder]
    one_way = recurrent(config.encoder_units, return_sequences=True, dropout=config.recurrent_inputs_dropout)
    return keras.layers.Bidirectional(one_way, name=ENCODER)(states, mask=mask)
