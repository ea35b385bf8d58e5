from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.classifier import EMBEDDING, build_classifier
from models.config import ClassifierConfig
from models.tokenizer import PAD_ID
from training.batches import pad_batch
from training.speedups import with_fused_lstm

WORDS = 40


def classifier(**changes: Any) -> keras.Model:
    keras.utils.set_random_seed(5)
    config = {"vocabulary_size": WORDS, "embedding_dim": 6, "encoder_units": 5, "attention_units": 4}
    return build_classifier(ClassifierConfig(**{**config, **changes}))


@pytest.fixture(scope="module")
def both() -> tuple[keras.Model, keras.Model]:
    model = classifier()
    for encoder in (layer for layer in model.layers if layer.name == "encoder"):
        generator = np.random.default_rng(5)
        encoder.set_weights([generator.normal(0, 0.7, weight.shape) for weight in encoder.get_weights()])
    return model, with_fused_lstm(model)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=5), st.integers(0, 2**32 - 1))
def test_a_fused_model_computes_what_the_saved_model_does(
    both: tuple[keras.Model, keras.Model], lengths: list[int], seed: int
) -> None:
    model, fused = both
    generator = np.random.default_rng(seed)
    batch = pad_batch([generator.integers(PAD_ID + 1, WORDS, length) for length in lengths])
    expected, received = model(batch), fused(batch)
    assert set(received) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(received[name], values, atol=1e-5, err_msg=name)


def test_a_fused_model_trains_the_weights_of_the_saved_model() -> None:
    generator = np.random.default_rng(6)
    batches = [pad_batch([generator.integers(1, WORDS, length) for length in (0, 3, 11, 31)]) for _ in range(8)]
    weights = []
    for change in (with_fused_lstm, lambda model: model):
        model = classifier()
        net = change(keras.Model(model.input, model.output["logits"]))
        assert {id(one) for one in net.trainable_variables} == {id(one) for one in model.trainable_variables}
        before = model.get_weights()
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        net.compile(keras.optimizers.SGD(0.5), loss, jit_compile=False)
        for batch in batches:
            net.train_on_batch(batch, np.array([0, 1, 0, 1]))
        weights.append(model.get_weights())
        assert all(np.abs(new - old).max() > 1e-4 for new, old in zip(weights[-1], before, strict=True))
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_frozen_word_vectors_stay_frozen() -> None:
    model = classifier()
    model.get_layer(EMBEDDING).trainable = False
    assert len(with_fused_lstm(model).trainable_variables) == len(model.trainable_variables)


@pytest.mark.parametrize(
    "changes", [{"encoder": "bigru"}, {"encoder": "convolution"}, {"recurrent_inputs_dropout": 0.2}]
)
def test_a_model_without_a_plain_lstm_is_returned_as_it_is(changes: dict[str, Any]) -> None:
    model = classifier(**changes)
    assert with_fused_lstm(model) is model
