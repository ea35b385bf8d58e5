"""Reference of the headed self-attentions in float64, and checks that they share."""

from typing import Any

import keras
import numpy as np

from models.layers.heads import HeadedSelfAttention
from tests.layer_checks import to_numpy
from tests.models import numpy_reference as reference


def float64(*tensors: Any) -> list[np.ndarray]:
    return [to_numpy(tensor).astype("float64") for tensor in tensors]


def one_text(
    queries: np.ndarray, keys: np.ndarray, looks: np.ndarray, heads: int, *kernels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute output[query, heads * size], maps[heads, query, key] and values[key, heads * size] head by head."""
    outputs, maps, values = [], [], []
    for query_kernel, key_kernel, value_kernel in zip(
        *(np.split(each, heads, axis=1) for each in kernels), strict=True
    ):
        scores = (queries @ query_kernel) @ (keys @ key_kernel).T / np.sqrt(key_kernel.shape[1])
        maps.append(reference.real_softmax(scores, looks))
        values.append(keys @ value_kernel)
        outputs.append(maps[-1] @ values[-1])
    return np.concatenate(outputs, axis=1), np.stack(maps), np.concatenate(values, axis=1)


def check_equation(layer: HeadedSelfAttention, states: np.ndarray, mask: np.ndarray, sees: np.ndarray) -> None:
    """Compare output, maps and values with the equation, for visible keys `sees`[query, key]."""
    output, maps, values = float64(*layer(states, mask=mask, return_attention_scores=True, return_values=True))
    kernels = float64(*layer.get_weights())
    for row, real in enumerate(mask):
        text = states[row].astype("float64")
        expected, expected_maps, expected_values = one_text(
            text, text, reference.pairs(real) & sees, layer.heads, *kernels
        )
        np.testing.assert_allclose(maps[row], expected_maps, atol=1e-6)
        np.testing.assert_allclose(output[row], expected, atol=1e-6)
        np.testing.assert_allclose(values[row], expected_values * real[:, None], atol=1e-6)
    # Each block of the output is a map times values.
    for head in range(layer.heads):
        block = slice(head * layer.size_per_head, (head + 1) * layer.size_per_head)
        np.testing.assert_allclose(output[..., block], maps[:, head] @ values[..., block], atol=1e-6)


def check_padding(layer: keras.layers.Layer, states: np.ndarray) -> None:
    """Check that padding on either side of a text changes neither its outputs nor its maps."""
    tokens = states.shape[1]
    expected, expected_maps = (to_numpy(each) for each in layer(states, return_attention_scores=True))
    for before, after in [(0, 1), (1, 0), (0, 6), (2, 0), (3, 0), (2, 3)]:
        around = [(0, 0), (before, after), (0, 0)]
        mask = np.pad(np.ones(states.shape[:2], bool), around[:2])
        padded = layer(np.pad(states, around, constant_values=5), mask=mask, return_attention_scores=True)
        output, maps = (to_numpy(each) for each in padded)
        real = slice(before, before + tokens)
        np.testing.assert_allclose(output[:, real], expected, atol=1e-5)
        np.testing.assert_allclose(maps[..., real, real], expected_maps, atol=1e-6)
