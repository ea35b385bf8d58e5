"""The weights of a recurrent encoder in the form that the kernel takes."""

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from models.classifier import EMBEDDING, ENCODER

_MOST_TABLE_BYTES = 256 * 2**20
_DROPOUTS = (keras.layers.Dropout, keras.layers.SpatialDropout1D)
_USUAL = {"activation": "tanh", "recurrent_activation": "sigmoid", "use_bias": True, "return_sequences": True}


@dataclass(frozen=True, slots=True)
class Direction:
    """The weights of one direction of a recurrence, its tokens' part multiplied out.

    The product of a token's vector with the kernels of the gates depends on the token alone. So all of them are
    multiplied out once, and looking one up takes the place of more than half of the arithmetic.

    Attributes:
        table: float32[vocabulary, gates], a token's vector times the kernel, plus the bias.
        kernel: float32[U, gates], of the state. An LSTM has 4U gates: input, forget, output, candidate; a GRU 3U:
            update, reset, candidate.
        bias: float32[gates] of the state's product; None where the table holds the only one.
    """

    table: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray | None

    @property
    def units(self) -> int:
        """U, the width of a state."""
        return int(self.kernel.shape[0])

    @property
    def is_lstm(self) -> bool:
        """Whether it is an LSTM, not a GRU."""
        return int(self.kernel.shape[1]) == 4 * self.units


def directions_of(model: keras.Model) -> tuple[Direction, Direction] | None:
    """Both directions of a model's recurrent encoder, forward first; None where it has none that is served so."""
    encoder = next((layer for layer in model.layers if layer.name == ENCODER), None)
    if not isinstance(encoder, keras.layers.Bidirectional) or not _reads_embedding(encoder):
        return None
    embedding = model.get_layer(EMBEDDING)
    cells = (encoder.forward_layer, encoder.backward_layer)
    if encoder.merge_mode != "concat" or any(_unusual(cell) for cell in cells):
        return None
    if embedding.input_dim * sum(cell.cell.kernel.shape[1] for cell in cells) * 4 > _MOST_TABLE_BYTES:
        return None
    vectors = ops.convert_to_numpy(embedding.embeddings)
    return _direction(vectors, cells[0]), _direction(vectors, cells[1])


def _direction(vectors: np.ndarray, layer: keras.Layer) -> Direction:
    kernel, recurrent, bias = (ops.convert_to_numpy(weight) for weight in layer.cell.weights)
    of_recurrent = None
    if isinstance(layer, keras.layers.LSTM):
        kernel, recurrent, bias = (_sigmoids_first(each) for each in (kernel, recurrent, bias))
    else:
        bias, of_recurrent = bias
    return Direction(vectors @ kernel + bias, recurrent, of_recurrent)


def _reads_embedding(encoder: keras.Layer) -> bool:
    """Whether the encoder's input is the embedding, with no more than dropout between."""
    inputs = encoder.input[0] if isinstance(encoder.input, list) else encoder.input
    source = inputs._keras_history.operation
    while isinstance(source, _DROPOUTS):
        source = source.input._keras_history.operation
    return source.name == EMBEDDING


def _unusual(layer: keras.Layer) -> bool:
    """Whether a recurrent layer is set up in another way than the kernel knows."""
    if not isinstance(layer, keras.layers.LSTM | keras.layers.GRU):
        return True
    config = layer.get_config()
    return any(config[name] != usual for name, usual in _USUAL.items()) or not config.get("reset_after", True)


def _sigmoids_first(weights: np.ndarray) -> np.ndarray:
    """Keras' order of the gates, input, forget, candidate, output, with the candidate last: one sigmoid for three."""
    into, forget, candidate, output = np.split(weights, 4, axis=-1)
    return np.concatenate([into, forget, output, candidate], axis=-1)
