"""A bundle on ONNX Runtime; neither Keras nor a backend of it is imported."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from models.bundle.parts import MODEL_FILE, ONNX_FILE, BundleParts, check_fit, read_bundle_parts
from models.bundle.probe import PROBE_FILE
from models.bundle.verification import BundleError

_WARNINGS_AND_WORSE = 3  # ONNX Runtime counts from 0, everything, to 4, fatal errors


class OnnxModel:
    """Maps ids int32[batch, tokens], padded on the right, to the outputs of `build_classifier`.

    Any number of texts and tokens; several threads may call at once.

    Args:
        graph: the model.
        files: contents of the files that the graph refers to for weights, by name; it can read no other file.
        threads: cores that one forward pass uses.

    Raises:
        ValueError: ONNX Runtime cannot run the graph, or it is not a classifier.
    """

    def __init__(self, graph: bytes, files: Mapping[str, bytes], *, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _WARNINGS_AND_WORSE
        # Threads without work sleep, instead of keeping a core busy until the next text.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_external_initializers_from_files_in_memory(
            list(files), list(files.values()), [len(content) for content in files.values()]
        )
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions have no common class
            raise ValueError(f"Expected a graph that ONNX Runtime runs. {type(error).__name__}: {error}") from error
        inputs = {each.name: (each.type, len(each.shape)) for each in self._session.get_inputs()}
        if inputs != {"ids": ("tensor(int32)", 2)}:
            raise ValueError(f"Expected one input, ids int32[batch, tokens]. Received {inputs}.")
        self.outputs = tuple(each.name for each in self._session.get_outputs())
        if not {"logits", "attention"} <= set(self.outputs):
            raise ValueError(f"Expected outputs 'logits' and 'attention'. Received {sorted(self.outputs)}.")

    def __call__(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs by name, each with `batch` as its first dimension."""
        return dict(zip(self.outputs, self._session.run(self.outputs, {"ids": ids}), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxBundle(BundleParts):
    """A loaded classifier: `model` maps ids to outputs."""

    model: OnnxModel


def load_onnx_bundle(path: Path, *, threads: int = 1) -> OnnxBundle:
    """Load the bundle in folder `path`, after everything in it is verified and its outputs are checked with its probe.

    Args:
        threads: cores that one forward pass uses.

    Raises:
        BundleError: the bundle has no model for ONNX Runtime, a file is not what the card says, or the outputs differ
            from those of Keras in the probe.
    """
    parts = read_bundle_parts(path)
    card, probe = parts.card, parts.probe
    if ONNX_FILE not in card.files or probe is None:
        missing = PROBE_FILE if ONNX_FILE in card.files else ONNX_FILE
        why = f" When it was saved: {card.without_onnx}" if card.without_onnx else ""
        raise BundleError(
            f"{path}: expected {missing}, without which HEED_ENGINE=onnx cannot serve it. Found none.{why} "
            f"Add it with `python -m training export {path}`, or serve with HEED_ENGINE=keras."
        )
    try:
        files = {MODEL_FILE: (path / MODEL_FILE).read_bytes()}
        model = OnnxModel((path / ONNX_FILE).read_bytes(), files, threads=threads)
        difference = probe.difference(model(probe.padded()))
    except Exception as error:  # ONNX Runtime's exceptions have no common class
        raise BundleError(f"{path / ONNX_FILE}: cannot be loaded: {error}") from error
    if difference is not None:
        raise BundleError(f"{path / ONNX_FILE}: {difference}, for the texts in {PROBE_FILE}.")
    check_fit(path, ("bases", parts.bases is not None, "contributions" in model.outputs))
    return OnnxBundle(
        path=path,
        card=card,
        tokenizer=parts.tokenizer,
        bases=parts.bases,
        probe=probe,
        kernel=parts.kernel,
        model=model,
    )
