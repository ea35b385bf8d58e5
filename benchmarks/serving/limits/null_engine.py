"""The service with an engine that does nothing: a model of no units, whose weights are uniform and say nothing.

    .venv-serve/bin/python -m benchmarks.serving.limits.null_engine

All else is what serves: HTTP, tokenizer, queue, batches, JSON. HEED_* settings apply. It takes the place of the forward
pass in C, and needs that compiled.
"""

import os
import sys
from unittest.mock import patch

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras

from service.http.server import serve
from service.inference.native_classifier import NativeClassifier
from service.settings import Settings

_of = NativeClassifier.of


def without_units(model: keras.Model) -> NativeClassifier:
    """`model` in C, with everything that is computed for a token taken away."""
    classifier = _of(model)
    if classifier is None:
        sys.exit("Expected a bundle that runs in C, and C compiled: python -m models.native. It does not.")
    structure = classifier._model
    for way in (structure.forward, structure.backward):
        way.units = way.gates = way.of_state.inputs = way.of_state.outputs = 0
    structure.hidden.inputs = structure.hidden.outputs = 0
    return classifier


if __name__ == "__main__":
    with patch("service.inference.native_classifier.NativeClassifier.of", without_units):
        serve(Settings())
