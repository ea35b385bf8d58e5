"""A classifier that ONNX Runtime runs; neither Keras nor a backend of it is imported."""

from collections.abc import Mapping

import numpy as np
import onnxruntime

_WARNINGS_AND_WORSE = 3  # ONNX Runtime counts from 0, everything, to 4, what is fatal


class OnnxModel:
    """Maps ids int32[batch, tokens], padded on the right, to the outputs that `build_classifier` says.

    Any number of texts and of tokens; it may be called from several threads at once.

    Args:
        graph: the model.
        files: what the graph takes its weights from, by name; it can read no other file.
        threads: cores that one forward pass is shared out over.

    Raises:
        ValueError: the graph is none, or not of such a model.
    """

    def __init__(self, graph: bytes, files: Mapping[str, bytes], *, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _WARNINGS_AND_WORSE
        # A thread without work sleeps: whoever waits for the next text should not keep a core busy.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_external_initializers_from_files_in_memory(
            list(files), list(files.values()), [len(content) for content in files.values()]
        )
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has a class for each kind of failure, and no common one
            raise ValueError(f"Expected a graph that ONNX Runtime runs. {type(error).__name__}: {error}") from error
        inputs = {each.name: (each.type, len(each.shape)) for each in self._session.get_inputs()}
        if inputs != {"ids": ("tensor(int32)", 2)}:
            raise ValueError(f"Expected one input, ids int32[batch, tokens]. Received {inputs}.")
        self.outputs = tuple(each.name for each in self._session.get_outputs())
        if not {"logits", "attention"} <= set(self.outputs):
            raise ValueError(f"Expected outputs 'logits' and 'attention'. Received {sorted(self.outputs)}.")

    def __call__(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs by name, each with `batch` as its first dimension."""
        return dict(zip(self.outputs, self._session.run(self.outputs, {"ids": ids}), strict=True))
