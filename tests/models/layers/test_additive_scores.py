"""Additive scores and their gradient, in one step, in blocks, and in training."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from models.layers import MaskedPooling, SeqSelfAttention, additive_scores
from tests.derivatives import derivatives

GENERATOR = np.random.default_rng(5)
QUERIES, KEYS, KERNEL, DIRECTION = (
    GENERATOR.normal(size=shape).astype("float32") for shape in ((2, 3, 7, 4), (2, 3, 5, 4), (4,), (2, 3, 7, 5))
)
# One query per round, three per round with a short last round, and all in one.
HELD = pytest.mark.parametrize("held", [1, 2 * 3 * 5 * 4 * 3, 2**20])


def published(queries: Any, keys: Any, kernel: Any) -> Any:
    return ops.sum(ops.tanh(ops.expand_dims(queries, -2) + ops.expand_dims(keys, -3)) * kernel, axis=-1)


@HELD
def test_the_score_is_its_equation_for_any_block_size(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(additive_scores, "HELD_AT_ONCE", held)
    received = additive_scores.additive_scores(QUERIES, KEYS, KERNEL)
    expected = np.tanh(QUERIES[..., :, None, :] + KEYS[..., None, :, :]) @ KERNEL
    np.testing.assert_allclose(ops.convert_to_numpy(received), expected, rtol=1e-5, atol=1e-5)


@HELD
def test_the_gradient_is_its_equation_for_any_block_size(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(additive_scores, "HELD_AT_ONCE", held)
    received, expected = (
        derivatives(lambda *given, form=form: ops.sum(form(*given) * ops.array(DIRECTION)), QUERIES, KEYS, KERNEL)
        for form in (additive_scores.additive_scores, published)
    )
    for one, other in zip(received, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@HELD
def test_a_graph_for_any_text_length_agrees(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    monkeypatch.setattr(additive_scores, "HELD_AT_ONCE", held)
    unknown = [tf.TensorSpec((None, 3, None, 4)), tf.TensorSpec((None, 3, None, 4)), tf.TensorSpec((4,))]

    @tf.function(input_signature=unknown, autograph=False)
    def step(*given: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(given)
            scores = additive_scores.additive_scores(*given)
            value = tf.reduce_sum(scores**2)
        return scores, *tape.gradient(value, given)

    for batch, queries, keys in ((2, 7, 5), (1, 1, 1), (2, 4, 0), (0, 4, 4)):
        given = QUERIES[:batch, :, :queries], KEYS[:batch, :, :keys], KERNEL
        scores, *gradients = step(*given)
        expected = published(*given)
        np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)
        slopes = derivatives(lambda *each: ops.sum(published(*each) ** 2), *given)
        for one, other in zip(gradients, slopes, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_batches_of_many_widths_can_be_trained_in_turn() -> None:
    """TensorFlow's graph optimiser merges sums into one AddN, whose buffer parallel loop rounds would corrupt."""
    inputs = keras.Input((None, 64))
    states = keras.layers.Dense(64, "relu")(inputs)
    context, _ = SeqSelfAttention(8)(states, return_attention_scores=True)
    pooled = MaskedPooling()(context)
    model = keras.Model(inputs, keras.layers.Dense(2)(pooled))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, jit_compile=keras.backend.backend() == "jax")
    generator = np.random.default_rng(0)
    for tokens in (256, 224, 192, 160, 256, 128):
        states = generator.normal(size=(64, tokens, 64)).astype("float32")
        value = model.train_on_batch(states, generator.integers(0, 2, 64))
        assert np.isfinite(value)
