"""From a ClassifierConfig to a Keras model that says where it looked."""

import keras

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
    """The classifier of `config`, with fresh weights.

    Input: ids int32[batch, tokens], `PAD_ID` on padding, which may stand on either side.
    Output: {"logits": float32[batch, labels], "attention": float32[batch, tokens], "contributions": float32[batch,
    tokens]}. The attention is at least 0, exactly 0 on padding and sums to 1 over the real tokens; what the
    contributions add up to is said in `LinearHead`, and there are none where the mechanism does more than sum. A row
    with no real token gives zeros.

    Raises:
        ValueError: an option of the mechanism is unknown or refused.
    """
    ids = keras.Input((None,), dtype="int32", name="ids")
    mask = PaddingMask(PAD_ID, name=MASK)(ids)
    states = ids if MECHANISMS[config.mechanism].reads_ids else _states(config, ids, mask)
    attended = attend(config, states, mask)
    if attended.values is None:
        dropped = keras.layers.Dropout(config.dropout, dtype="float32", name="dropout")(attended.pooled)
        outputs = {"logits": keras.layers.Dense(config.labels, dtype="float32", name=HEAD)(dropped)}
    else:
        head = LinearHead(config.labels, dropout=config.dropout, name=HEAD)
        outputs = head(attended.pooled, attended.values, attended.coefficients)
    weights = keras.layers.Activation("linear", dtype="float32", name="weights")(attended.weights)
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


def _states(config: ClassifierConfig, ids: Tensor, mask: Tensor) -> Tensor:
    """The states that the attention looks at: float[batch, tokens, features]."""
    states = keras.layers.Embedding(config.vocabulary_size, config.embedding_dim, name=EMBEDDING)(ids)
    if config.embedding_dropout:
        states = keras.layers.SpatialDropout1D(config.embedding_dropout, name="embedding_dropout")(states)
    if config.token_dropout:
        states = keras.layers.Dropout(config.token_dropout, noise_shape=(None, None, 1), name="token_dropout")(states)
    return _encode(config, _place(config, states, mask), mask)


def _place(config: ClassifierConfig, states: Tensor, mask: Tensor) -> Tensor:
    """The states with what tells where they stand: float[batch, tokens, features]."""
    merge = config.position_merge
    if config.position == "sinusoidal":
        return SinusoidalPositionEmbedding(merge=merge, name="position")(states, mask=mask)
    if config.position == "trainable":
        return TrainablePositionEmbedding(config.max_positions, merge=merge, name="position")(states, mask=mask)
    return states


def _encode(config: ClassifierConfig, states: Tensor, mask: Tensor) -> Tensor:
    """The states, each with what the encoder knows of its neighbours: float[batch, tokens, features]."""
    if config.encoder == "none":
        return states
    if config.encoder == "convolution":
        return MaskedConvolution(config.encoder_units, config.kernel_size, name=ENCODER)(states, mask=mask)
    recurrent = {"bilstm": keras.layers.LSTM, "bigru": keras.layers.GRU}[config.encoder]
    one_way = recurrent(config.encoder_units, return_sequences=True, dropout=config.recurrent_inputs_dropout)
    return keras.layers.Bidirectional(one_way, name=ENCODER)(states, mask=mask)
