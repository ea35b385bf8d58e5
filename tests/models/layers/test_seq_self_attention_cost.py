"""What SeqSelfAttention holds while it runs and learns: read off the graphs, not off a clock."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from models.layers import SeqSelfAttention
from models.layers.additive_scores import HELD_AT_ONCE

TOKENS, FEATURES, UNITS, BATCH = 2048, 8, 32, 2


def graphs_of(graph: Any) -> Iterator[Any]:
    """The graph, and those of the loops and functions it calls."""
    yield graph
    for function in graph._functions.values():
        yield from graphs_of(function.graph)


def largest_tensor(layer: SeqSelfAttention, **asked: bool) -> int:
    """How many elements the largest tensor has in a step of training."""
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
            if "_placeholder" in operation.name:  # what a loop is given, and is a tensor of the graph around it
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
def test_a_width_makes_no_map_of_all_pairs(attention_type: Any, history_only: bool, weight: float) -> None:
    layer = SeqSelfAttention(UNITS, 15, attention_type, history_only=history_only, attention_regularizer_weight=weight)
    assert largest_tensor(layer, return_band=True) <= HELD_AT_ONCE < BATCH * TOKENS**2
    assert largest_tensor(layer, return_attention_scores=True) >= BATCH * TOKENS**2  # so this sees what it looks for


@pytest.mark.parametrize("history_only", [False, True])
def test_additive_scores_hold_no_hidden_state_of_every_pair(history_only: bool) -> None:
    layer = SeqSelfAttention(UNITS, history_only=history_only, attention_regularizer_weight=0.1)
    assert BATCH * TOKENS**2 <= largest_tensor(layer) <= 1.01 * BATCH * TOKENS**2  # a last block that is not full


def test_the_published_scores_hold_the_hidden_state_of_every_pair() -> None:
    import tensorflow as tf

    @tf.function(autograph=False)
    def published(queries: Any, keys: Any, kernel: Any) -> Any:
        return tf.tensordot(tf.tanh(queries[:, :, None, :] + keys[:, None, :, :]), kernel, 1)

    states = tf.TensorSpec((BATCH, TOKENS, UNITS))
    graph = published.get_concrete_function(states, states, tf.TensorSpec((UNITS, 1))).graph
    largest = max(int(np.prod(output.shape)) for each in graph.get_operations() for output in each.outputs)
    assert largest == BATCH * TOKENS**2 * UNITS
