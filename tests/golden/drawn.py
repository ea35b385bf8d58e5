"""Inputs of every set: two short texts and weights, drawn once per name and shape."""

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

TEXTS, TOKENS, FEATURES = 2, 6, 4

# The first text is padded on the left, the second on the right.
MASK = np.array([[0, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]], bool)
NO_PADDING = np.ones((TEXTS, TOKENS), bool)


def draw(name: str, shape: Sequence[int], scale: float = 0.7) -> np.ndarray:
    """The same numbers for the same name and shape, whatever was drawn before."""
    seed = zlib.crc32(f"{name} {tuple(shape)}".encode())
    return np.random.default_rng(seed).normal(scale=scale, size=tuple(shape)).astype(np.float32)


def states(name: str = "states", tokens: int = TOKENS, features: int = FEATURES) -> np.ndarray:
    return draw(name, (TEXTS, tokens, features), scale=1.0)


def draw_weights(layer: Any, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Draw and set the weights of a built Keras layer, the biases too."""
    weights = {name: draw(name, weight.shape) for name, weight in zip(names, layer.weights, strict=True)}
    layer.set_weights(list(weights.values()))
    return weights
