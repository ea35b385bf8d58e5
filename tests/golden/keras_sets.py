"""Answers of Keras' own attention layers that equal one of ours."""

from collections.abc import Iterator
from itertools import product

import keras
import numpy as np
from drawn import FEATURES, MASK, draw, draw_weights, states
from golden_file import GoldenSet

HEADS, SIZE = 2, 2


def sets() -> list[GoldenSet]:
    return [*_attention(), *_additive_attention(), *_multi_head_attention()]


def _attention() -> Iterator[GoldenSet]:
    """The scale is given by the query, which Keras does not divide."""
    inputs = states()
    for causal, mask in product((False, True), (None, MASK)):
        output, scores = keras.layers.Attention()(
            [inputs / np.sqrt(FEATURES).astype(np.float32), inputs],
            mask=None if mask is None else [mask, mask],
            return_attention_scores=True,
            use_causal_mask=causal,
        )
        yield GoldenSet(
            f"Attention, use_causal_mask={causal}, {'unpadded' if mask is None else 'padded'}",
            "Attention",
            {"use_causal_mask": causal},
            [inputs],
            [] if mask is None else [mask],
            {},
            {"output": np.asarray(output), "map": np.asarray(scores)},
        )


def _additive_attention() -> Iterator[GoldenSet]:
    """Between projections, which the layer itself does not have."""
    inputs = states()
    query_kernel, key_kernel, bias = draw("Wt", (FEATURES, 5)), draw("Wx", (FEATURES, 5)), draw("bh", (5,))
    for causal, mask in product((False, True), (None, MASK)):
        layer = keras.layers.AdditiveAttention()
        query, key = inputs @ query_kernel + bias, inputs @ key_kernel
        layer.build([query.shape, inputs.shape, key.shape])
        scale = draw("scale", (5,))
        layer.scale.assign(scale)
        output, scores = layer(
            [query, inputs, key],
            mask=None if mask is None else [mask, mask],
            return_attention_scores=True,
            use_causal_mask=causal,
        )
        yield GoldenSet(
            f"AdditiveAttention, use_causal_mask={causal}, {'unpadded' if mask is None else 'padded'}",
            "AdditiveAttention",
            {"use_causal_mask": causal},
            [inputs],
            [] if mask is None else [mask],
            {"query_kernel": query_kernel, "key_kernel": key_kernel, "bias": bias, "scale": scale},
            {"output": np.asarray(output), "map": np.asarray(scores)},
        )


def _multi_head_attention() -> Iterator[GoldenSet]:
    inputs = states()
    names = ["query_kernel", "query_bias", "key_kernel", "key_bias", "value_kernel", "value_bias"]
    names += ["output_kernel", "output_bias"]
    # Biases only with heads that share the features between them: nothing of ours has biases and another width.
    widths = ((True, SIZE), (False, SIZE), (False, 3))
    for (use_bias, value_dim), causal, mask in product(widths, (False, True), (None, MASK)):
        layer = keras.layers.MultiHeadAttention(HEADS, SIZE, value_dim, use_bias=use_bias)
        layer.build(inputs.shape, inputs.shape)
        weights = draw_weights(layer, names if use_bias else [name for name in names if "kernel" in name])
        output, scores = layer(
            inputs,
            inputs,
            # A query mask is taken from the tensor alone, whatever is passed; rows of padding are not compared.
            value_mask=mask,
            use_causal_mask=causal,
            return_attention_scores=True,
        )
        yield GoldenSet(
            f"MultiHeadAttention, use_bias={use_bias}, value_dim={value_dim}, use_causal_mask={causal}, "
            f"{'unpadded' if mask is None else 'padded'}",
            "MultiHeadAttention",
            {"use_bias": use_bias, "value_dim": value_dim, "use_causal_mask": causal},
            [inputs],
            [] if mask is None else [mask],
            weights,
            {"output": np.asarray(output), "map": np.asarray(scores)},
        )
