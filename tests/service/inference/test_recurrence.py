"""The recurrent encoder as it is served, beside Keras' own layer."""

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.classifier import build_classifier
from models.config import ClassifierConfig
from models.tokenizer import PAD_ID
from service.inference.recurrence import TokenRecurrence, serving_model

VOCABULARY = 30


def classifier(**options: Any) -> keras.Model:
    keras.utils.set_random_seed(5)
    config = ClassifierConfig(vocabulary_size=VOCABULARY, **{"embedding_dim": 6, "encoder_units": 5, **options})
    model = build_classifier(config)
    for weight in model.weights:  # biases are zeros and ones at first: a wrong one would not show
        weight.assign(weight + keras.random.normal(weight.shape, stddev=0.3))
    return model


MODELS = {
    encoder: classifier(encoder=encoder, embedding_dropout=0.2, token_dropout=0.2) for encoder in ("bilstm", "bigru")
}
SERVED = {encoder: serving_model(model) for encoder, model in MODELS.items()}


@pytest.mark.parametrize("encoder", MODELS)
@settings(max_examples=20, deadline=None)
@given(
    places=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)).map(sorted), min_size=1, max_size=4),
    seed=st.integers(0, 9),
)
def test_it_computes_what_keras_does_with_padding_before_and_after(
    encoder: str, places: list[list[int]], seed: int
) -> None:
    ids = np.full((len(places), 9), PAD_ID, np.int32)
    generator = np.random.default_rng(seed)
    for row, (start, end) in zip(ids, places, strict=True):
        row[start:end] = generator.integers(1, VOCABULARY, end - start)
    served, expected = SERVED[encoder](ids), MODELS[encoder](ids)
    assert sorted(served) == sorted(expected)
    for name, output in expected.items():
        np.testing.assert_allclose(served[name], output, atol=1e-5)


@pytest.mark.parametrize("encoder", MODELS)
def test_its_loop_ends_with_the_longest_text(encoder: str) -> None:
    [layer] = [layer for layer in SERVED[encoder].layers if isinstance(layer, TokenRecurrence)]
    ids = np.array([[3, 4, 0, 0, 0, 0], [5, 6, 7, 0, 0, 0]], np.int32)
    states = np.array(layer(ids))
    assert np.abs(states[1, :3]).min() > 0
    np.testing.assert_array_equal(states[:, 3:], 0)


def test_all_but_the_encoder_is_shared() -> None:
    model, served = MODELS["bilstm"], SERVED["bilstm"]
    head = model.get_layer("head").weights[-1]
    ids = np.array([[3, 4, 5]], np.int32)
    before = np.array(served(ids)["logits"])
    head.assign(head + 1)
    np.testing.assert_allclose(served(ids)["logits"], before + 1, atol=1e-6)
    head.assign(head - 1)


@pytest.mark.parametrize(
    "options",
    [
        {"encoder": "none"},
        {"encoder": "convolution"},
        {"encoder": "bilstm", "position": "sinusoidal"},
        {"encoder": "bigru", "position": "trainable"},
    ],
)
def test_other_models_are_left_as_they_are(options: dict[str, Any]) -> None:
    model = classifier(**options)
    assert serving_model(model) is model


def test_an_encoder_set_up_in_another_way_is_left_as_it_is() -> None:
    ids = keras.Input((None,), dtype="int32")
    states = keras.layers.Embedding(VOCABULARY, 4, name="embedding")(ids)
    gru = keras.layers.GRU(3, return_sequences=True, reset_after=False)
    model = keras.Model(ids, keras.layers.Bidirectional(gru, name="encoder")(states))
    assert serving_model(model) is model


def test_a_table_too_large_for_memory_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.inference.recurrence._MOST_TABLE_BYTES", VOCABULARY * 4 * 2 * 5 * 4 - 1)
    assert serving_model(MODELS["bilstm"]) is MODELS["bilstm"]
    assert any(isinstance(layer, TokenRecurrence) for layer in SERVED["bilstm"].layers)
