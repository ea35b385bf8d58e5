"""Convert a Keras classifier to ONNX: the same weights, any number of texts and tokens."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper
from tf2onnx import optimizer, tf_loader
from tf2onnx.tfonnx import process_tf_graph

from models.bundle.archive import stored_weights
from models.bundle.graph import find_weight
from models.bundle.onnx.bundle import OnnxModel
from models.bundle.onnx.recurrent import recurrent_nodes
from models.bundle.parts import MODEL_FILE, ONNX_FILE
from models.bundle.probe import Probe
from models.layers.additive_scores import without_loops

OPSET = 18

_SMALLEST_SHARED_BYTES = 1 << 16
_SHARED_DTYPES = ("float32", "uint8", "int8")

# Names of the recurrent encoder's inputs and output in the graph. tf2onnx does not convert the encoder itself.
_STATES, _MASK, _LENGTHS, _ENCODED = "states", "mask", "lengths", "encoded"

# This pass merges two reshapes and drops the size that the second copies from the first.
_WRONG_PASSES = {"remove_back_to_back"}


class ExportError(Exception):
    """ONNX cannot express a classifier; the message says why."""


def write_onnx(folder: Path, model: keras.Model, probe: Probe) -> None:
    """Write `model.onnx` into `folder`, where `model.keras` holds the same model; its large weights stay there.

    Raises:
        ExportError: ONNX cannot express the model, or the graph's outputs differ from the probe's.
    """
    if (backend := keras.backend.backend()) != "tensorflow":
        raise ExportError(f"expected Keras on TensorFlow, which is what is converted. It runs on {backend}.")
    try:
        converted = to_onnx(model)
        _share_weights(converted.graph, folder / MODEL_FILE)
        graph = converted.SerializeToString()
        session = OnnxModel(graph, {MODEL_FILE: (folder / MODEL_FILE).read_bytes()})
        difference = probe.difference(session(probe.padded()))
    except Exception as error:  # tf2onnx and ONNX Runtime have no common exception
        raise ExportError(f"{type(error).__name__}: {error}") from error
    if difference is not None:
        raise ExportError(difference)
    (folder / ONNX_FILE).write_bytes(graph)


def to_onnx(model: keras.Model) -> onnx.ModelProto:
    """Convert the classifier `model`: ids int32[batch, tokens], padded on the right -> outputs by name.

    A recurrent encoder becomes the operator that ONNX has for it; tf2onnx converts the rest.

    Raises:
        ValueError: ONNX has no counterpart for a part of the model.
    """
    encoder = next((layer for layer in model.layers if isinstance(layer, keras.layers.Bidirectional)), None)
    inputs, outputs = [model.input], dict(model.output)
    signature = [tf.TensorSpec((None, None), tf.int32, name="ids")]
    if encoder is not None:
        states, mask = encoder.input
        inputs.append(encoder.output)
        outputs |= {_STATES: states, _MASK: mask}
        signature.append(tf.TensorSpec((None, None, encoder.output.shape[-1]), tf.float32, name=_ENCODED))
    converted = _converted(keras.Model(inputs, outputs), signature)
    if encoder is not None:
        _insert(converted.graph, encoder)
    for names in (converted.graph.input, converted.graph.output):
        for each in names:
            each.type.tensor_type.shape.dim[0].dim_param = "batch"
    return converted


def _converted(model: keras.Model, signature: Sequence[tf.TensorSpec]) -> onnx.ModelProto:
    function = tf.function(
        lambda *given: model(list(given), training=False), input_signature=signature, autograph=False
    )
    with without_loops():
        concrete = function.get_concrete_function()
    inputs = [each.name for each in concrete.inputs if each.dtype != tf.resource]
    outputs = {tensor.name: name for name, tensor in concrete.structured_outputs.items()}
    frozen = tf_loader.from_function(concrete, inputs, list(outputs))
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(frozen, name="")
        converted = process_tf_graph(
            graph,
            opset=OPSET,
            input_names=inputs,
            output_names=list(outputs),
            tensors_to_rename=outputs | {name: spec.name for name, spec in zip(inputs, signature, strict=True)},
            custom_op_handlers={"Erfc": (_erfc, []), "Bitcast": (_sign_bit, [])},
        )
        passes = {name: each for name, each in optimizer._get_optimizers().items() if name not in _WRONG_PASSES}
        return optimizer.optimize_graph(converted, catch_errors=False, optimizers=passes).make_model("classifier")


def _erfc(graph: Any, node: Any, name: str, _: Any) -> None:
    """Convert Erfc to 1 - Erf, which tf2onnx does not do."""
    graph.remove_node(node.name)
    one = graph.make_const(f"{name}/one", np.ones((), np.float32)).output[0]
    erf = graph.make_node("Erf", [node.input[0]], name=f"{name}/erf").output[0]
    graph.make_node("Sub", [one, erf], outputs=node.output, name=name)


def _sign_bit(graph: Any, node: Any, name: str, _: Any) -> None:
    """Convert a bit cast to the sign bit alone: Keras' argmax asks whether a 0 is negative."""
    graph.remove_node(node.name)
    nothing = graph.make_const(f"{name}/nothing", np.zeros((), np.float32)).output[0]
    reciprocal = graph.make_node("Reciprocal", [node.input[0]], name=f"{name}/reciprocal").output[0]  # 1 / -0 = -inf
    negative = graph.make_node("Less", [reciprocal, nothing], name=f"{name}/negative").output[0]
    number = graph.make_node("Cast", [negative], attr={"to": onnx.TensorProto.INT32}, name=f"{name}/number").output[0]
    graph.make_node("Neg", [number], outputs=node.output, name=name)


def _insert(graph: onnx.GraphProto, encoder: keras.layers.Bidirectional) -> None:
    """Compute the encoder's output in the graph, where it is an input so far."""
    nodes, tensors = recurrent_nodes(encoder, _STATES, _LENGTHS, _ENCODED)
    counting = [
        helper.make_node("Cast", [_MASK], ["mask/as_numbers"], to=onnx.TensorProto.INT32),
        helper.make_node("ReduceSum", ["mask/as_numbers", "mask/axis"], [_LENGTHS], keepdims=0),
    ]
    graph.initializer.extend([*tensors, numpy_helper.from_array(np.array([1]), "mask/axis")])
    _keep(graph.input, lambda each: each.name != _ENCODED)
    _keep(graph.output, lambda each: each.name not in (_STATES, _MASK))
    known = {each.name for each in (*graph.input, *graph.initializer)}
    ordered = _in_order([*graph.node, *counting, *nodes], known)
    del graph.node[:]
    graph.node.extend(ordered)


def _keep(messages: Any, wanted: Any) -> None:
    kept = [each for each in messages if wanted(each)]
    del messages[:]
    messages.extend(kept)


def _in_order(nodes: Sequence[onnx.NodeProto], known: set[str]) -> list[onnx.NodeProto]:
    """Sort nodes so that each follows those whose outputs it takes; `known` are the names of inputs and weights."""
    known = known | {""}
    ordered: list[onnx.NodeProto] = []
    waiting = list(nodes)
    while waiting:
        ready = [node for node in waiting if known.issuperset(node.input)]
        if not ready:
            raise ValueError(f"Expected a graph without circles. {waiting[0].op_type} {waiting[0].name} is in one.")
        ordered += ready
        known.update(name for node in ready for name in node.output)
        waiting = [node for node in waiting if not known.issuperset(node.output)]
    return ordered


def _share_weights(graph: onnx.GraphProto, archive: Path) -> None:
    """Let every large weight that the Keras archive holds byte for byte refer to it, instead of a copy."""
    places, content = stored_weights(archive), archive.read_bytes()
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.nbytes < _SMALLEST_SHARED_BYTES or values.dtype.name not in _SHARED_DTYPES:
            continue
        if (offset := find_weight(values, places, content)) is not None:
            for field in ("raw_data", "float_data", "int32_data"):  # the last one for codes of 8 bits
                tensor.ClearField(field)
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", archive.name), ("offset", offset), ("length", values.nbytes)):
                tensor.external_data.add(key=key, value=str(value))
