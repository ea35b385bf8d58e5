"""The service with an engine that does nothing: its forward passes give arrays of the right shapes at once.

    .venv-serve/bin/python -m benchmarks.serving.limits.null_engine

All else is what serves: HTTP, tokenizer, queue, batches, JSON. HEED_* settings apply.
"""

import os
from collections.abc import Sequence
from unittest.mock import patch

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

from service.results import Result
from service.server import serve
from service.settings import Settings


class NullClassifier:
    """Uniform weights, no evidence."""

    def __init__(self, model: keras.Model) -> None:
        self._logits = np.zeros(model.output["logits"].shape[-1], np.float32)
        self._exact = "contributions" in model.output

    def __call__(self, ids: Sequence[np.ndarray]) -> list[Result]:
        """A result for each text."""
        weights = [np.full(len(text), 1 / len(text), np.float32) for text in ids]
        return [Result(self._logits, each, each if self._exact else None) for each in weights]


if __name__ == "__main__":
    with patch("service.native_classifier.NativeClassifier.of", NullClassifier):
        serve(Settings())
