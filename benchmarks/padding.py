"""Measure what padding does to self-attention in keras-self-attention and in ours: the table of docs/migrating.md.

    .venv/bin/python -m benchmarks.padding

A layer with random weights reads the same 64 random texts of 8 tokens with increasing padding. Its upstream mode equals
keras-self-attention 0.51 within 1e-5, which tests/golden checks.
"""

from typing import Literal

import keras
import numpy as np
from keras import ops

from models.layers import SeqSelfAttention

TEXTS, TOKENS, FEATURES = 64, 8, 16
PADDED = (0, 2, 8, 32)
HEADER = """\
| padding behind 8 tokens | weight on it, keras-self-attention | ours | change of answer, keras-self-attention | ours |
| --- | --- | --- | --- | --- |"""


def answers(mode: Literal["keys", "upstream"], padding: int) -> tuple[np.ndarray, np.ndarray]:
    """Return context[texts, tokens, features] and map[texts, tokens, keys] of the real positions."""
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(0)
    texts = generator.normal(size=(TEXTS, TOKENS, FEATURES)).astype(np.float32)
    # Padded positions hold whatever earlier layers made of them.
    filling = generator.normal(size=(TEXTS, padding, FEATURES)).astype(np.float32)
    mask = np.arange(TOKENS + padding) < TOKENS
    layer = SeqSelfAttention(mask_mode=mode)
    context, scores = layer(
        np.concatenate([texts, filling], axis=1),
        mask=ops.array(np.tile(mask, (TEXTS, 1))),
        return_attention_scores=True,
    )
    return np.asarray(context)[:, :TOKENS], np.asarray(scores)[:, :TOKENS]


def rows() -> list[str]:
    """Return the lines of the table."""
    lines = []
    for padding in PADDED:
        cells: dict[str, tuple[float, float]] = {}
        for mode in ("upstream", "keys"):
            context, scores = answers(mode, padding)
            alone, _ = answers(mode, 0)
            change = np.linalg.norm(context - alone, axis=-1) / np.linalg.norm(alone, axis=-1)
            cells[mode] = scores[..., TOKENS:].sum(axis=-1).mean(), change.mean()
        (upstream_share, upstream_change), (share, change) = cells["upstream"], cells["keys"]
        lines.append(f"| {padding} | {upstream_share:.0%} | {share:.0%} | {upstream_change:.0%} | {change:.0%} |")
    return lines


if __name__ == "__main__":
    print(HEADER, *rows(), sep="\n")
