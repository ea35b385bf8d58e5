"""How a layer is held to a golden set."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from tests.golden.golden_file import GoldenSet, read

HERE = Path(__file__).parent
TOLERANCE = 1e-5


def sets_of(file: str, layer: str) -> Any:
    """Parametrises a test with the sets of one layer in one file: `golden`."""
    found = [each for each in read(HERE / f"{file}.npz").sets if each.layer == layer]
    assert found, f"{file}.npz: nothing of {layer}"
    return pytest.mark.parametrize("golden", [pytest.param(each, id=each.name) for each in found])


def loaded(layer: keras.layers.Layer, golden: GoldenSet) -> keras.layers.Layer:
    """The layer, built for the inputs of the set, with its weights in the order of the original."""
    layer.build(golden.inputs[0].shape)
    layer.set_weights(list(golden.weights.values()))
    return layer


def mask_of(golden: GoldenSet, index: int = 0) -> Any:
    """Return the mask of an input; None if the set has no padding."""
    return ops.array(golden.masks[index]) if golden.masks else None


def without_padded_queries(rows: np.ndarray, golden: GoldenSet, query_axis: int = 1) -> np.ndarray:
    """Return the original's answer, with 0 for padded queries as in our layers."""
    if not golden.masks:
        return rows
    shape = [1] * rows.ndim
    shape[0], shape[query_axis] = golden.masks[0].shape
    return np.where(golden.masks[0].reshape(shape), rows, 0)


def assert_near(received: Any, expected: np.ndarray, tolerance: float = TOLERANCE) -> None:
    received = ops.convert_to_numpy(received)
    assert received.shape == expected.shape
    np.testing.assert_allclose(received, expected, atol=tolerance, rtol=0)
