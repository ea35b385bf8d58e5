"""The classifier in C beside the Keras model that it stands for."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import native
from models.classifier import build_classifier
from models.config import ClassifierConfig
from service.inference.engine import Result
from service.inference.native_classifier import NativeClassifier
from service.inference.workers import _is_finite

pytestmark = pytest.mark.usefixtures("any_processor")

VOCABULARY = 30
KINDS: dict[str, dict[str, Any]] = {
    "lstm": {"encoder": "bilstm"},
    "gru": {"encoder": "bigru", "encoder_units": 48},
    "three labels": {"encoder": "bilstm", "labels": 3},
    "no bias": {"encoder": "bigru", "attention": {"use_bias": False}},
    "temperature": {"encoder": "bilstm", "attention": {"temperature": 2.5}, "attention_units": 70},
}


def classifier(**options: Any) -> keras.Model:
    keras.utils.set_random_seed(5)
    usual = {"embedding_dim": 6, "encoder_units": 16, "attention_units": 5, "mechanism": "additive_pooling"}
    model = build_classifier(ClassifierConfig(vocabulary_size=VOCABULARY, **(usual | options)))
    for weight in model.weights:  # biases are zeros and ones at first: a wrong one would not show
        weight.assign(weight + keras.random.normal(weight.shape, stddev=0.3))
    return model


@pytest.fixture(scope="module")
def both(compiled: None, any_processor: None) -> dict[str, tuple[NativeClassifier, keras.Model]]:
    pairs = {}
    for kind, options in KINDS.items():
        model = classifier(**options)
        in_c = NativeClassifier.of(model)
        assert in_c is not None
        pairs[kind] = in_c, model
    return pairs


def texts_of(lengths: Sequence[int], seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.integers(1, VOCABULARY, length).astype(np.int32) for length in lengths]


def assert_equal(result: Result, expected: Result) -> None:
    for name in ("logits", "attention", "contributions"):
        np.testing.assert_array_equal(getattr(result, name), getattr(expected, name))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=10, deadline=None)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=20), seed=st.integers(0, 9))
def test_it_computes_what_keras_does(
    both: dict[str, tuple[NativeClassifier, keras.Model]], kind: str, lengths: list[int], seed: int
) -> None:
    in_c, model = both[kind]
    texts = texts_of(lengths, seed)
    padded = np.zeros((len(texts), max(lengths)), np.int32)
    for row, text in zip(padded, texts, strict=True):
        row[: len(text)] = text
    expected = {name: np.array(output) for name, output in model(padded).items()}
    for place, (text, result) in enumerate(zip(texts, in_c(texts), strict=True)):
        read = slice(len(text))
        assert result.logits.dtype == result.attention.dtype == np.float32
        np.testing.assert_allclose(result.logits, expected["logits"][place], atol=1e-5)
        np.testing.assert_allclose(result.attention, expected["attention"][place, read], atol=1e-5)
        np.testing.assert_allclose(result.contributions, expected["contributions"][place, read], atol=1e-5)
        assert result.attention.sum() == pytest.approx(1, abs=1e-6)


def test_processors_with_other_vectors_get_the_same(both: dict[str, tuple[NativeClassifier, keras.Model]]) -> None:
    library = native.unlocked_library()
    assert library is not None
    kinds = {4: "heed_classify_any", 8: "heed_classify_avx2", 16: "heed_classify_avx512"}
    texts = texts_of([40, 9, 1, 0, 8, 7, 33, 5, 6, 20, 21])
    for in_c, model in both.values():
        expected = in_c(texts)
        for lanes, name in kinds.items():
            if lanes > library.heed_lanes():
                continue
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(library, "heed_classify", library[name])
                for result, other in zip(NativeClassifier.of(model)(texts), expected, strict=True):
                    np.testing.assert_allclose(result.logits, other.logits, atol=1e-5)
                    np.testing.assert_allclose(result.attention, other.attention, atol=1e-6)
                    np.testing.assert_allclose(result.contributions, other.contributions, atol=1e-5)


def test_narrow_vectors_are_left_to_keras(compiled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.inference.native_classifier._LEAST_LANES", 8)
    monkeypatch.setattr(native.unlocked_library(), "heed_lanes", lambda: 4)
    assert NativeClassifier.of(classifier(encoder="bilstm")) is None


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None)
@given(mates=st.lists(st.integers(0, 40), max_size=20), length=st.integers(0, 40), place=st.integers(0, 20))
def test_a_text_gets_the_very_same_bits_in_any_batch(
    both: dict[str, tuple[NativeClassifier, keras.Model]], kind: str, mates: list[int], length: int, place: int
) -> None:
    in_c, _ = both[kind]
    [text] = texts_of([length], seed=1)
    others = texts_of(mates, seed=2)
    [alone] = in_c([text])
    among = in_c([*others[:place], text, *others[place:]])
    assert_equal(among[min(place, len(others))], alone)


def test_a_text_without_tokens_gets_the_logits_of_no_evidence(
    both: dict[str, tuple[NativeClassifier, keras.Model]],
) -> None:
    in_c, model = both["three labels"]
    empty, full = in_c(texts_of([0, 4]))
    np.testing.assert_array_equal(empty.logits, model.get_layer("head").bias)
    assert empty.attention.shape == (0,)
    assert full.attention.shape == (4,)
    assert in_c([]) == []


@pytest.mark.parametrize("wrong", [-1, 0, VOCABULARY, 2**31 - 1])
def test_an_id_that_is_none_is_refused(both: dict[str, tuple[NativeClassifier, keras.Model]], wrong: int) -> None:
    in_c, _ = both["lstm"]
    with pytest.raises(ValueError, match=f"Expected ids from 1 to {VOCABULARY - 1}"):
        in_c([np.array([1, wrong], np.int32), np.array([1], np.int32)])


def test_numbers_that_are_not_finite_are_told_from_those_that_are(compiled: None) -> None:
    model = classifier(encoder="bilstm")
    embeddings = np.array(model.get_layer("embedding").embeddings)
    embeddings[7] = np.nan
    model.get_layer("embedding").embeddings.assign(embeddings)
    in_c = NativeClassifier.of(model)
    assert in_c is not None
    bad, good = in_c([np.array([3, 7], np.int32), np.array([3, 4], np.int32)])
    assert (_is_finite(bad), _is_finite(good)) == (False, True)


@pytest.mark.parametrize(
    "options",
    [
        {"encoder": "none"},
        {"encoder": "convolution"},
        {"encoder": "bilstm", "encoder_units": 17},
        {"encoder": "bilstm", "encoder_units": 528},
        {"encoder": "bilstm", "position": "sinusoidal"},
        {"encoder": "bilstm", "attention": {"score": "dot"}},
        {"encoder": "bilstm", "attention": {"activation": "relu"}},
        {"encoder": "bilstm", "mechanism": "seq_weighted"},
        {"encoder": "bilstm", "mechanism": "transformer"},
        {"encoder": "bilstm", "mechanism": "uniform"},
    ],
)
def test_it_stands_for_no_other_model(compiled: None, options: dict[str, Any]) -> None:
    assert NativeClassifier.of(classifier(**options)) is None


def test_it_stands_for_none_where_c_is_not_wanted(compiled: None) -> None:
    native.use(False)
    try:
        assert NativeClassifier.of(classifier(encoder="bilstm")) is None
    finally:
        native.use(True)
