"""The service with an engine that does nothing: its forward passes give arrays of the right shapes at once.

    .venv-serve/bin/python -m benchmarks.serving.limits.null_engine

All else is what serves: HTTP, tokenizer, queue, batches, padding, JSON. HEED_* settings apply.
"""

import os
from unittest.mock import patch

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

from service.compilation import Forward
from service.server import serve
from service.settings import Settings
from service.shapes import Shape


class NullCompiler:
    """Compiles to nothing: uniform weights, no evidence."""

    traces = 0

    def __init__(self, model: keras.Model) -> None:
        self._labels = model.output["logits"].shape[-1]
        self._names = set(model.output)

    def compile(self, shape: Shape) -> Forward:
        """Arrays that are made once for each shape."""
        per_token = np.full(shape, 1 / shape.tokens, np.float32)
        outputs = {"logits": np.zeros((shape.batch, self._labels), np.float32), "attention": per_token}
        outputs |= dict.fromkeys(self._names - outputs.keys(), per_token)
        return lambda ids: outputs


if __name__ == "__main__":
    with patch("service.engine.forward_compiler", NullCompiler):
        serve(Settings())
