"""The loop that adds up additive scores, as a training step runs it."""

import keras
import numpy as np

from models.layers import MaskedPooling, SeqSelfAttention


def test_steps_of_many_widths_can_be_trained_one_after_the_other() -> None:
    """TensorFlow's graph optimiser makes one AddN of several sums, and the rounds of a loop fought for its buffer."""
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
