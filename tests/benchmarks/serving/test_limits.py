"""What the other runtimes are given to run."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from benchmarks.serving.limits.measuring import for_openvino
from benchmarks.serving.services import BUNDLE


def test_openvino_gets_the_same_graph_without_what_it_misreads(tmp_path: Path) -> None:
    folder = for_openvino(BUNDLE, tmp_path / "openvino")
    assert (folder / "tokenizer.json").samefile(BUNDLE / "tokenizer.json")
    graph = onnx.load(folder / "model.onnx").graph
    axes = {tensor.name: tensor.dims for tensor in graph.initializer}
    assert not [node.name for node in graph.node if node.op_type == "Unsqueeze" and axes.get(node.input[1]) == [0]]
    ids = np.array([[5, 6, 7, 8], [9, 10, 0, 0]], np.int32)
    told = []
    for path in (BUNDLE, folder):
        session = onnxruntime.InferenceSession(path / "model.onnx", providers=["CPUExecutionProvider"])
        told.append(session.run(None, {session.get_inputs()[0].name: ids}))
    for changed, as_saved in zip(told[1], told[0], strict=True):
        np.testing.assert_array_equal(changed, as_saved)
