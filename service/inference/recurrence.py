"""The recurrent encoder as it is served: what Keras' layer computes, in a form that takes half the time."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from models.classifier import EMBEDDING, ENCODER, MASK
from models.masking import Tensor
from models.tokenizer import PAD_ID

_MOST_TABLE_BYTES = 256 * 2**20
_SHUT = 1e9  # the sigmoid of this is 1, of its negative 0, without rest
_DROPOUTS = (keras.layers.Dropout, keras.layers.SpatialDropout1D)
_USUAL = {"activation": "tanh", "recurrent_activation": "sigmoid", "use_bias": True, "return_sequences": True}


def serving_model(model: keras.Model) -> keras.Model:
    """`model` for inference alone, its recurrent encoder replaced by a `TokenRecurrence` where that is the same.

    All other layers, and their weights, are those of `model`. A model that has no such encoder is returned as it is.
    """
    ways = directions_of(model)
    if ways is None:
        return model
    [ids], mask = model.inputs, model.get_layer(MASK).output
    states = TokenRecurrence(*ways, name="recurrence")(ids)
    after = keras.Model([ids, mask, model.get_layer(ENCODER).output], model.output)
    return keras.Model(ids, after([ids, mask, states]), name=model.name)


def takes_as_long_as_its_texts(model: keras.Model) -> bool:
    """Whether the time of a forward pass goes by the longest text in it rather than by what it is padded to."""
    return any(isinstance(layer, TokenRecurrence) for layer in model.layers)


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
    """Whether a recurrent layer is set up in a way that `TokenRecurrence` does not know."""
    if not isinstance(layer, keras.layers.LSTM | keras.layers.GRU):
        return True
    config = layer.get_config()
    return any(config[name] != usual for name, usual in _USUAL.items()) or not config.get("reset_after", True)


class TokenRecurrence(keras.layers.Layer):
    """A bidirectional LSTM or GRU over an embedding, from token ids.

    Both directions run in one loop, which ends with the longest text of the batch.

    Equations: those of `keras.layers.LSTM` and `keras.layers.GRU` (reset_after=True). Padding stands before or
    after a text, not inside. Its gates are shut, so that each direction comes to the text's first token of its way with
    the state that it starts from; the states at padding itself mean nothing, and are finite.

    Args:
        forward: of U units.
        backward: one of the same kind, that reads from the last token to the first.

    Input: ids int32[batch, tokens]. Output: float32[batch, tokens, 2U].
    """

    def __init__(self, forward: Direction, backward: Direction, **kwargs: Any) -> None:
        super().__init__(trainable=False, **kwargs)
        self.units = forward.units
        self._step, self._states = (_lstm_step, 2) if forward.is_lstm else (_gru_step, 1)
        self._tables: list[Tensor] = []
        self._kernels: list[Tensor] = []
        self._biases: list[Tensor] = []
        for name, way in (("forward", forward), ("backward", backward)):
            table = way.table.copy()
            table[PAD_ID] = self._gates_of_padding(table.shape[1])
            self._tables.append(self._constant(f"{name}_table", table))
            self._kernels.append(self._constant(f"{name}_kernel", way.kernel))  # [U, gates]
            if way.bias is not None:
                self._biases.append(self._constant(f"{name}_bias", way.bias))  # [gates]

    def _constant(self, name: str, value: np.ndarray) -> Tensor:
        return self.add_weight(value.shape, lambda shape, dtype: ops.convert_to_tensor(value, dtype), name=name)

    def _gates_of_padding(self, gates: int) -> np.ndarray:
        """Logits by which a state of zeros stays one: nothing gets in or out of the LSTM; the GRU keeps what it has."""
        if self._states == 2:
            return np.repeat(np.array([-_SHUT, 0.0], np.float32), [gates - self.units, self.units])
        return np.repeat(np.array([_SHUT, 0.0], np.float32), [self.units, gates - self.units])

    def call(self, ids: Tensor) -> Tensor:
        """The states of both directions, side by side."""
        batch, tokens = ops.shape(ids)
        by_time = ops.transpose(ids)  # [tokens, batch]
        places = ops.expand_dims(ops.arange(1, tokens + 1, dtype="int32"), -1)  # [tokens, 1]
        steps = ops.max(ops.where(ops.not_equal(by_time, PAD_ID), places, 0))
        nothing = ops.zeros((batch, self.units), self.compute_dtype)
        outputs = ops.zeros((tokens, batch, self.units), self.compute_dtype)

        def step(now: Any, carried: tuple[Any, ...]) -> tuple[Any, ...]:
            one, other, of_forward, of_backward = carried
            mirrored = steps - 1 - now
            # Taken, not sliced: TensorFlow would compile anew for each value of what a slice starts at.
            one = self._next(0, one, ops.take(by_time, now, axis=0))
            other = self._next(1, other, ops.take(by_time, mirrored, axis=0))
            of_forward = ops.slice_update(of_forward, [now, 0, 0], one[0][None])
            return one, other, of_forward, ops.slice_update(of_backward, [mirrored, 0, 0], other[0][None])

        start = (nothing,) * self._states
        *_, of_forward, of_backward = ops.fori_loop(0, steps, step, (start, start, outputs, outputs))
        return ops.transpose(ops.concatenate([of_forward, of_backward], axis=-1), (1, 0, 2))  # [batch, tokens, 2U]

    def _next(self, direction: int, state: tuple[Tensor, ...], ids: Tensor) -> tuple[Tensor, ...]:
        gates = ops.take(self._tables[direction], ids, axis=0)  # [batch, gates]
        recurrent = ops.matmul(state[0], self._kernels[direction])  # [batch, gates]
        if self._biases:
            recurrent = recurrent + self._biases[direction]
        return self._step(gates, recurrent, state)

    def compute_output_spec(self, ids: Tensor) -> keras.KerasTensor:
        """Told, so that Keras need not trace the loop to find out."""
        return keras.KerasTensor((*ids.shape, 2 * self.units), dtype=self.compute_dtype)


def _sigmoids_first(weights: np.ndarray) -> np.ndarray:
    """Keras' order of the gates, input, forget, candidate, output, with the candidate last: one sigmoid for three."""
    into, forget, candidate, output = np.split(weights, 4, axis=-1)
    return np.concatenate([into, forget, output, candidate], axis=-1)


def _lstm_step(gates: Tensor, recurrent: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """(h, c) after one token."""
    logits = gates + recurrent
    units = state[0].shape[-1]
    into, forget, output = ops.split(ops.sigmoid(logits[:, : 3 * units]), 3, axis=-1)
    cell = forget * state[1] + into * ops.tanh(logits[:, 3 * units :])
    return output * ops.tanh(cell), cell


def _gru_step(gates: Tensor, recurrent: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """(h,) after one token; the reset gate acts on the candidate's recurrent part, its bias included."""
    [before] = state
    units = before.shape[-1]
    update, reset = ops.split(ops.sigmoid(gates[:, : 2 * units] + recurrent[:, : 2 * units]), 2, axis=-1)
    candidate = ops.tanh(gates[:, 2 * units :] + reset * recurrent[:, 2 * units :])
    return (update * before + (1 - update) * candidate,)
