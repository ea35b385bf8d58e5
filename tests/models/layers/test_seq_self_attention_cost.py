"""Memory of SeqSelfAttention in inference and training, read from TensorFlow graphs."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from models.layers import SeqSelfAttention
from models.layers.additive_scores import HELD_AT_ONCE

TOKENS, FEATURES, UNITS, BATCH = 2048, 8, 32, 2


def graphs_of(graph: Any) -> Iterator[Any]:
    """Yield the graph and those of its loops and functions."""
    yield graph
    for function in graph._functions.values():
        yield from graphs_of(function.graph)


def largest_tensor(layer: SeqSelfAttention, **asked: bool) -> int:
    """Number of elements of the largest tensor in a training step."""
    import tensorflow as tf

    if not layer.built:
        layer.build((BATCH, TOKENS, FEATURES))

    @tf.function(autograph=False)
    def step(inputs: Any) -> Any:
        with tf.GradientTape() as tape:
            outputs = tf.nest.flatten(layer(inputs, **asked))
            loss = sum(tf.reduce_sum(output**2) for output in outputs) + sum(layer.losses)
        return tape.gradient(loss, [weight.value for weight in layer.trainable_weights])

    traced = step.get_concrete_function(tf.TensorSpec((BATCH, TOKENS, FEATURES)))
    sizes = []
    for graph in graphs_of(traced.graph):
        for operation in graph.get_operations():
            if "_placeholder" in operation.name:  # loop inputs belong to the outer graph
                continue
            for output in operation.outputs:
                if output.dtype not in (tf.variant, tf.resource):
                    assert output.shape.is_fully_defined(), operation
                    sizes.append(int(np.prod(output.shape)))
    assert len(sizes) > 50
    return max(sizes)


@pytest.mark.parametrize("weight", [0.0, 0.1])
@pytest.mark.parametrize("history_only", [False, True])
@pytest.mark.parametrize("attention_type", ["additive", "multiplicative"])
def test_a_width_avoids_the_full_map(attention_type: Any, history_only: bool, weight: float) -> None:
    layer = SeqSelfAttention(UNITS, 15, attention_type, history_only=history_only, attention_regularizer_weight=weight)
    assert largest_tensor(layer, return_band=True) <= HELD_AT_ONCE < BATCH * TOKENS**2
    assert largest_tensor(layer, return_attention_scores=True) >= BATCH * TOKENS**2  # the test would see a full map


@pytest.mark.parametrize("history_only", [False, True])
def test_additive_scores_do_not_hold_all_hidden_states(history_only: bool) -> None:
    layer = SeqSelfAttention(UNITS, history_only=history_only, attention_regularizer_weight=0.1)
    assert BATCH * TOKENS**2 <= largest_tensor(layer) <= 1.01 * BATCH * TOKENS**2  # the last block may be partly empty


def test_published_scores_hold_all_hidden_states() -> None:
    import tensorflow as tf

    @tf.function(autograph=False)
    def published(queries: Any, keys: Any, kernel: Any) -> Any:
        return tf.tensordot(tf.tanh(queries[:, :, None, :] + keys[:, None, :, :]), kernel, 1)

    states = tf.TensorSpec((BATCH, TOKENS, UNITS))
    graph = published.get_concrete_function(states, states, tf.TensorSpec((UNITS, 1))).graph
    largest = max(int(np.prod(output.shape)) for each in graph.get_operations() for output in each.outputs)
    assert largest == BATCH * TOKENS**2 * UNITS
