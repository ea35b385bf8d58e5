"""Laws of every classifier, whatever it is made of. The batch that a text comes in changes nothing."""

from collections.abc import Callable
from functools import cache
from itertools import product
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import ops

from models.classifier import EMBEDDING, HEAD, MECHANISMS, build_classifier
from models.config import ClassifierConfig
from tests.layer_checks import to_numpy

VOCABULARY, LONGEST, BATCH = 12, 6, 4
TEMPERATURE = 1.7
# A pooling has no part in additive pooling, which pools by itself.
ARCHITECTURES = [
    architecture
    for architecture in product(MECHANISMS, ("none", "convolution", "bilstm", "bigru"), ("mean", "sum"), (2, 3))
    if architecture[0] != "additive_pooling" or architecture[2] == "mean"
]

Outputs = dict[str, np.ndarray]
TEXT = st.lists(st.integers(1, VOCABULARY - 1), max_size=LONGEST)
TEXTS = st.lists(TEXT, min_size=BATCH, max_size=BATCH)


def small(**values: Any) -> ClassifierConfig:
    sizes = {"vocabulary_size": VOCABULARY, "embedding_dim": 4, "encoder_units": 3, "kernel_size": 3}
    return ClassifierConfig(**(sizes | {"attention_units": 3, "encoder": "none"} | values))


@cache
def classifier(mechanism: Any, encoder: Any, pooling: Any, labels: int) -> tuple[keras.Model, Callable[..., Outputs]]:
    """A model whose weights are large enough to make a difference, and its compiled forward pass."""
    model = build_classifier(small(mechanism=mechanism, encoder=encoder, pooling=pooling, labels=labels))
    generator = np.random.default_rng(3)
    for weight in model.trainable_weights:
        weight.assign(generator.normal(scale=0.7, size=weight.shape))
    return model, compiled(model)


def compiled(model: keras.Model) -> Callable[[np.ndarray], Outputs]:
    if keras.backend.backend() == "jax":
        import jax

        variables = [weight.value for weight in model.trainable_variables]
        others = [weight.value for weight in model.non_trainable_variables]
        forward = jax.jit(lambda ids: model.stateless_call(variables, others, ids, training=False)[0])
    elif keras.backend.backend() == "torch":
        import torch

        forward = torch.no_grad()(lambda ids: model(ids, training=False))  # eager: what compiles it needs a C++ compiler
    else:
        import tensorflow as tf

        signature = [tf.TensorSpec((None, None), "int32")]
        forward = tf.function(lambda ids: model(ids, training=False), input_signature=signature)
    return lambda ids: {name: to_numpy(output) for name, output in forward(ids).items()}


def padded(texts: list[list[int]], width: int, place: Callable[[int], int]) -> tuple[np.ndarray, list[slice]]:
    """int32[batch, width] with each text at `place(room)`, and where each of them is."""
    ids = np.zeros((len(texts), width), "int32")
    slices = []
    for row, text in zip(ids, texts, strict=True):
        start = place(width - len(text))
        slices.append(slice(start, start + len(text)))
        row[slices[-1]] = text
    return ids, slices


def probabilities(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp((logits - logits.max(axis=-1, keepdims=True)).astype("float64") / TEMPERATURE)
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def assert_same_text(one: Outputs, row: int, where: slice, other: Outputs, other_row: int, there: slice) -> None:
    np.testing.assert_allclose(
        probabilities(one["logits"])[row], probabilities(other["logits"])[other_row], atol=1e-5, rtol=0
    )
    for name in ("attention", "contributions"):
        tolerance = 1e-5 if name == "attention" else 1e-4
        np.testing.assert_allclose(one[name][row, where], other[name][other_row, there], atol=tolerance, rtol=0)


@pytest.mark.parametrize(("mechanism", "encoder", "pooling", "labels"), ARCHITECTURES)
@given(texts=TEXTS, mates=TEXTS, row=st.integers(0, BATCH - 1), fraction=st.floats(0, 1))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_neither_padding_nor_batch_mates_change_an_answer(
    mechanism: str,
    encoder: str,
    pooling: str,
    labels: int,
    texts: list[list[int]],
    mates: list[list[int]],
    row: int,
    fraction: float,
) -> None:
    _, forward = classifier(mechanism, encoder, pooling, labels)
    ids, where = padded(texts, LONGEST + 1, lambda room: 0)
    answers = forward(ids)
    assert_lawful(ids, answers)
    for width, place in (
        (LONGEST + 1, lambda room: room),  # on the left
        (LONGEST + 4, lambda room: 0),  # wider
        (LONGEST + 4, lambda room: round(fraction * room)),  # on both sides
    ):
        other_ids, there = padded(texts, width, place)
        others = forward(other_ids)
        assert_lawful(other_ids, others)
        for each in range(BATCH):
            assert_same_text(answers, each, where[each], others, each, there[each])
    other_ids, there = padded([*mates[:-1], texts[row]], LONGEST + 1, lambda room: 0)
    assert_same_text(answers, row, where[row], forward(other_ids), BATCH - 1, there[-1])


def assert_lawful(ids: np.ndarray, answers: Outputs) -> None:
    real, attention = ids != 0, answers["attention"]
    assert {name: output.dtype for name, output in answers.items()} == dict.fromkeys(answers, np.dtype("float32"))
    assert attention.shape == answers["contributions"].shape == ids.shape
    assert all(np.isfinite(output).all() for output in answers.values())
    assert (attention >= 0).all()
    assert (attention[~real] == 0).all()
    assert (answers["contributions"][~real] == 0).all()
    np.testing.assert_allclose(attention.sum(axis=1), real.any(axis=1), atol=1e-5)


@pytest.mark.parametrize(("mechanism", "encoder", "pooling", "labels"), ARCHITECTURES)
@given(texts=TEXTS)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_contributions_and_base_are_the_log_odds_of_the_scores(
    mechanism: str, encoder: str, pooling: str, labels: int, texts: list[list[int]]
) -> None:
    model, forward = classifier(mechanism, encoder, pooling, labels)
    answers = forward(padded(texts, LONGEST + 1, lambda room: 0)[0])
    assert answers["logits"].shape == (BATCH, labels)
    for logits, contributions in zip(answers["logits"], answers["contributions"], strict=True):
        target = 1 if labels == 2 else int(logits.argmax())
        scores = np.log(probabilities(logits))
        log_odds = scores[target] - np.delete(scores, target).mean()
        base = model.get_layer(HEAD).base(target) / TEMPERATURE
        assert base + contributions.sum(dtype="float64") / TEMPERATURE == pytest.approx(log_odds, abs=1e-4)


def test_every_mechanism_says_what_its_weights_are() -> None:
    for facts in MECHANISMS.values():
        assert facts.attention_is in ("exact", "approximate")
        assert len(facts.token_weight_rule) > 20


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_attention_is_by_what_the_states_are_summed(mechanism: Any) -> None:
    """Where it is said to be exact: logits = W^T (sum of attention times states) + b."""
    model = classifier(mechanism, "none", "mean", 3)[0]
    assert MECHANISMS[mechanism].attention_is == "exact"
    ids = np.array([[3, 1, 4, 1, 5, 9, 0]], "int32")
    states = to_numpy(model.get_layer(EMBEDDING)(ids))[0]
    answers = {name: to_numpy(output)[0] for name, output in model(ids).items()}
    head = model.get_layer(HEAD)
    expected = answers["attention"] @ states @ to_numpy(head.kernel) + to_numpy(head.bias)
    np.testing.assert_allclose(answers["logits"], expected, atol=1e-5)


def test_attention_of_a_sum_is_that_of_a_mean() -> None:
    """The weights of one mechanism do not depend on whether its outputs are summed or averaged; the logits do."""
    mean, sum_ = (classifier("dot_product", "none", pooling, 2)[1] for pooling in ("mean", "sum"))
    ids = np.array([[3, 1, 4, 0], [5, 9, 2, 6]], "int32")
    np.testing.assert_allclose(mean(ids)["attention"], sum_(ids)["attention"], atol=1e-6)
    assert np.abs(mean(ids)["logits"] - sum_(ids)["logits"]).max() > 0.1


def test_every_dropout_is_built_and_drops_in_training_alone() -> None:
    dropouts = {"embedding_dropout": 0.5, "recurrent_inputs_dropout": 0.5, "dropout": 0.5}
    model = build_classifier(small(encoder="bilstm", **dropouts))
    model.set_weights([np.full(weight.shape, 0.3) if weight.shape else weight for weight in model.get_weights()])
    ids = np.tile(np.arange(1, 9, dtype="int32"), (16, 1))
    assert np.ptp(to_numpy(model(ids, training=False)["logits"]), axis=0).max() < 1e-6
    assert np.ptp(to_numpy(model(ids, training=True)["logits"]), axis=0).max() > 1e-3
    assert model.get_layer("embedding_dropout").rate == 0.5
    assert model.get_layer("encoder").forward_layer.dropout == 0.5
    assert model.get_layer(HEAD).dropout == 0.5


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_mixed_precision_answers_in_float32_and_nearly_the_same(mechanism: Any) -> None:
    ids = np.array([[3, 1, 4, 1, 5, 9, 0], [0] * 7], "int32")
    exact = classifier(mechanism, "none", "mean", 2)[0]
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = build_classifier(small(mechanism=mechanism))
    finally:
        keras.config.set_dtype_policy("float32")
    mixed.set_weights(exact.get_weights())
    for name, output in mixed(ids).items():
        assert keras.backend.standardize_dtype(output.dtype) == "float32"
        np.testing.assert_allclose(to_numpy(output), to_numpy(exact(ids)[name]), atol=0.1)


def test_a_classifier_learns() -> None:
    """Gradients reach the embedding through every part: two words that mean opposite things are told apart."""
    keras.utils.set_random_seed(0)
    model = build_classifier(small(encoder="convolution", mechanism="seq_additive"))
    generator = np.random.default_rng(0)
    ids = generator.integers(4, VOCABULARY, (64, LONGEST)).astype("int32")
    labels = generator.integers(0, 2, 64)
    ids[np.arange(64), generator.integers(0, LONGEST, 64)] = 2 + labels
    learner = keras.Model(model.input, ops.softmax(model.output["logits"]))
    adam = keras.optimizers.Adam(0.05)
    learner.compile(adam, "sparse_categorical_crossentropy", jit_compile=False)
    learner.fit(np.tile(ids, (40, 1)), np.tile(labels, 40), epochs=1, batch_size=64, verbose=0)
    assert (to_numpy(model(ids)["logits"]).argmax(axis=1) == labels).mean() > 0.95
