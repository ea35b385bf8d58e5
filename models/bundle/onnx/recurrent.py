"""A bidirectional LSTM or GRU of Keras as one node of ONNX."""

from typing import Any

import keras
import numpy as np
import onnx
from onnx import helper, numpy_helper

_KERAS_GATES = {"LSTM": "ifco", "GRU": "zrh"}
_ONNX_GATES = {"LSTM": "iofc", "GRU": "zrh"}


def recurrent_nodes(
    layer: keras.layers.Bidirectional, states: str, lengths: str, encoded: str
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """The nodes and the weights that do what `layer` does where padding stands on the right.

    Args:
        layer: with LSTMs or GRUs that give a sequence each, concatenated.
        states: name of its input, float[batch, tokens, features].
        lengths: name of the numbers of real tokens, int32[batch]; beyond them the output is zeros.
        encoded: name of its output, float[batch, tokens, 2 * units].

    Raises:
        ValueError: ONNX has no operator for what the layer does.
    """
    kind = _kind_of(layer)
    ways = (layer.forward_layer.cell, layer.backward_layer.cell)
    units = ways[0].units
    weights = {
        "W": np.stack([_reordered(kind, cell.kernel).T for cell in ways]),  # [2, gates * units, features]
        "R": np.stack([_reordered(kind, cell.recurrent_kernel).T for cell in ways]),  # [2, gates * units, units]
        "B": np.stack([_bias(kind, cell) for cell in ways]),  # [2, 2 * gates * units]
    }
    name = layer.name
    options: dict[str, Any] = {"linear_before_reset": 1} if kind == "GRU" else {}
    nodes = [
        helper.make_node("Transpose", [states], [f"{name}/tokens_first"], perm=[1, 0, 2]),  # [tokens, batch, features]
        helper.make_node(
            kind,
            [f"{name}/tokens_first", *(f"{name}/{part}" for part in weights), lengths],
            [f"{name}/ways_apart"],  # [tokens, 2, batch, units]
            name=name,
            direction="bidirectional",
            hidden_size=units,
            **options,
        ),
        helper.make_node("Transpose", [f"{name}/ways_apart"], [f"{name}/batch_first"], perm=[2, 0, 1, 3]),
        helper.make_node("Reshape", [f"{name}/batch_first", f"{name}/shape"], [encoded]),
    ]
    tensors = [numpy_helper.from_array(value.astype(np.float32), f"{name}/{part}") for part, value in weights.items()]
    return nodes, [*tensors, numpy_helper.from_array(np.array([0, 0, 2 * units]), f"{name}/shape")]


def _kind_of(layer: keras.layers.Bidirectional) -> str:
    ways = (layer.forward_layer, layer.backward_layer)
    kind = {keras.layers.LSTM: "LSTM", keras.layers.GRU: "GRU"}.get(type(ways[0]))
    if kind is None:
        raise ValueError(f"Expected {layer.name} to be of LSTMs or of GRUs. Received {type(ways[0]).__name__}.")
    for way in ways:
        plain = (
            way.activation is keras.activations.tanh
            and way.recurrent_activation is keras.activations.sigmoid
            and way.use_bias
            and way.return_sequences
            and getattr(way, "reset_after", True)
        )
        if not plain or layer.merge_mode != "concat":
            raise ValueError(
                f"Expected {layer.name} to be a plain {kind}: tanh, sigmoid, with a bias, one state a token, both "
                "ways concatenated. Received other options."
            )
    return kind


def _reordered(kind: str, values: Any) -> np.ndarray:
    """Reorder the gates of the last axis from Keras' order to that of ONNX."""
    gates = dict(zip(_KERAS_GATES[kind], np.split(np.asarray(values), len(_KERAS_GATES[kind]), axis=-1), strict=True))
    return np.concatenate([gates[gate] for gate in _ONNX_GATES[kind]], axis=-1)


def _bias(kind: str, cell: Any) -> np.ndarray:
    """Return the bias of the inputs, then that of the states, which a Keras LSTM lacks: float[2 * gates * units]."""
    bias = np.asarray(cell.bias)
    both = bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])
    return _reordered(kind, both).reshape(-1)
