"""Answers of the first write-up's MyAttention: its tile, reshape and sum, in NumPy and float64."""

from collections.abc import Iterator

import numpy as np
from drawn import FEATURES, TEXTS, TOKENS, draw, states
from golden_file import GoldenSet


def sets() -> list[GoldenSet]:
    return list(_my_attention())


def _my_attention() -> Iterator[GoldenSet]:
    """Of a known length, where there is a gain for each position, and of an unknown one, where all share theirs."""
    inputs = states().astype(np.float64)
    for length, key_size in ((TOKENS, 8), (TOKENS, 3), (None, 8), (None, 3)):
        weights = {name: draw(name, (length or 1, FEATURES)).astype(np.float64) for name in ("qw", "kw", "vw")}
        output, scores = my_attention(inputs, *weights.values(), key_size)
        yield GoldenSet(
            f"MyAttention, length={length}, key_size={key_size}",
            "MyAttention",
            {"length": length, "key_size": key_size},
            [inputs],
            [],
            weights,
            {"output": output, "map": scores},
        )


def my_attention(
    inputs: np.ndarray, qw: np.ndarray, kw: np.ndarray, vw: np.ndarray, key_size: int
) -> tuple[np.ndarray, np.ndarray]:
    q, k, v = inputs * qw, (inputs * kw).transpose(0, 2, 1), inputs * vw
    v = np.tile(v, (1, TOKENS, 1)).reshape(TEXTS, TOKENS, TOKENS, FEATURES)
    exponentials = np.exp(q @ k / np.sqrt(key_size))
    p = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return (v * p.reshape(TEXTS, TOKENS, TOKENS, 1)).sum(axis=2), p
