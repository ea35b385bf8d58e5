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
from service.recurrence import TokenRecurrence, serving_model

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
@given(rows=st.lists(st.lists(st.booleans(), min_size=9, max_size=9), min_size=1, max_size=4), seed=st.integers(0, 9))
def test_it_computes_what_keras_does_wherever_the_padding_stands(
    encoder: str, rows: list[list[bool]], seed: int
) -> None:
    real = np.array(rows)
    ids = np.where(real, np.random.default_rng(seed).integers(1, VOCABULARY, real.shape), PAD_ID).astype(np.int32)
    served, expected = SERVED[encoder](ids), MODELS[encoder](ids)
    assert sorted(served) == sorted(expected)
    for name, output in expected.items():
        np.testing.assert_allclose(served[name], output, atol=1e-5)


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
    monkeypatch.setattr("service.recurrence._MOST_TABLE_BYTES", VOCABULARY * 4 * 2 * 5 * 4 - 1)
    assert serving_model(MODELS["bilstm"]) is MODELS["bilstm"]
    assert any(isinstance(layer, TokenRecurrence) for layer in SERVED["bilstm"].layers)
