"""Properties of every classifier. An answer does not depend on the batch."""

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

from models.classifier import EMBEDDING, HEAD, build_classifier
from models.config import ClassifierConfig
from models.mechanisms import MECHANISMS
from tests.layer_checks import to_numpy

VOCABULARY, LONGEST, BATCH = 12, 6, 4
TEMPERATURE = 1.7
POOLS_BY_ITSELF = ("additive_pooling", "seq_weighted", "ngram_attention")
READS_IDS = "ngram_attention"  # takes no encoder, and its values are not those of an embedding
# Every mechanism with defaults, and with each option that changes its map.
OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {mechanism: (mechanism, {}) for mechanism in MECHANISMS} | {
    "elementwise_positions": ("elementwise", {"attention": {"max_length": LONGEST}}),
    "multi_head_causal": ("multi_head", {"attention": {"heads": 2, "key_size": 5, "causal": True}}),
    "multi_head_sinusoidal": ("multi_head", {"position": "sinusoidal"}),
    "multi_head_beside_sinusoidal": ("multi_head", {"position": "sinusoidal", "position_merge": "concat"}),
    "multi_head_trainable": ("multi_head", {"position": "trainable", "max_positions": LONGEST}),
    "local_causal": ("local", {"attention": {"neighbors": 2, "causal": True}}),
    "local_dilated": ("local", {"attention": {"neighbors": 1, "rate": 2}}),
    "atrous_every_third": ("atrous", {"attention": {"rate": 3}}),
    "sparse_every_third": ("sparse", {"attention": {"rate": 3}}),
    "linear_pooling": ("additive_pooling", {"attention": {"score": "linear", "temperature": 0.5}}),
    "dot_pooling": ("additive_pooling", {"attention": {"score": "dot"}}),
    "seq_additive_odd_width": ("seq_additive", {"attention": {"attention_width": 3}}),
    "seq_additive_even_width": ("seq_additive", {"attention": {"attention_width": 2}}),
    "seq_multiplicative_history": ("seq_multiplicative", {"attention": {"history_only": True}}),
    "seq_multiplicative_near_history": (
        "seq_multiplicative",
        {"attention": {"history_only": True, "attention_width": 3, "attention_activation": "sigmoid"}},
    ),
    "scaled_dot_product_history": ("scaled_dot_product", {"attention": {"history_only": True}}),
    "residual_thrice": ("residual_scaled_dot_product", {"attention": {"depth": 3}}),
    "multi_head_of_narrow": ("multi_head_of", {"attention": {"heads": 2, "hidden_dim": 3}}),
    "multi_head_projected_window": ("multi_head_projected", {"attention": {"window": 2, "activation": "relu"}}),
    "keras_attention_concat": ("keras_attention", {"attention": {"score_mode": "concat", "use_scale": True}}),
    "transformer_deep": (
        "transformer",
        {"position": "sinusoidal", "attention": {"num_heads": 2, "depth": 2, "norm": "pre", "window": 2}},
    ),
    "ngram_attention": ("ngram_attention", {"attention": {"buckets": 1 << 10}}),
    "transformer_causal": ("transformer", {"attention": {"num_heads": 2, "causal": True}}),
}
# Their outputs are transformed further, so they have no contributions.
NOT_SUMMED = {"multi_head_projected", "keras_multi_head_attention", "keras_group_query_attention", "transformer"}
ENCODERS = ("convolution", "bilstm", "bigru")
# Each alone, each with another encoder, pooling and number of labels, and each encoder.
ARCHITECTURES = [
    *((options, "none", "mean", 2) for options in OPTIONS),
    *(
        (
            options,
            "none" if OPTIONS[options][0] == READS_IDS else ENCODERS[place % 3],
            "mean" if OPTIONS[options][0] in POOLS_BY_ITSELF else "sum",
            3,
        )
        for place, options in enumerate(OPTIONS)
    ),
    *product(("additive_pooling",), ENCODERS, ("mean",), (2,)),
    *product(("dot_product",), ("none", "convolution", "bilstm", "bigru"), ("sum",), (2, 3)),
    ("seq_multiplicative", "bilstm", "mean", 2),
]
ARCHITECTURES = list(dict.fromkeys(ARCHITECTURES))

Outputs = dict[str, np.ndarray]
TEXT = st.lists(st.integers(1, VOCABULARY - 1), max_size=LONGEST)
TEXTS = st.lists(TEXT, min_size=BATCH, max_size=BATCH)


def small(**values: Any) -> ClassifierConfig:
    sizes = {"vocabulary_size": VOCABULARY, "embedding_dim": 4, "encoder_units": 4, "kernel_size": 3}
    return ClassifierConfig(**(sizes | {"attention_units": 3, "encoder": "none"} | values))


@cache
def classifier(options: str, encoder: Any, pooling: Any, labels: int) -> tuple[keras.Model, Callable[..., Outputs]]:
    """Build a model with large random weights, and its compiled forward pass."""
    mechanism, values = OPTIONS[options]
    model = build_classifier(small(mechanism=mechanism, encoder=encoder, pooling=pooling, labels=labels, **values))
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

        forward = torch.no_grad()(lambda ids: model(ids, training=False))  # eager: compiling needs a C++ compiler
    else:
        import tensorflow as tf

        signature = [tf.TensorSpec((None, None), "int32")]
        forward = tf.function(lambda ids: model(ids, training=False), input_signature=signature)
    return lambda ids: {name: to_numpy(output) for name, output in forward(ids).items()}


def padded(texts: list[list[int]], width: int, place: Callable[[int], int]) -> tuple[np.ndarray, list[slice]]:
    """Return int32[batch, width] with each text at `place(room)`, and the slice of each."""
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
    for name in one.keys() - {"logits"}:
        tolerance = 1e-5 if name == "attention" else 1e-4
        np.testing.assert_allclose(one[name][row, where], other[name][other_row, there], atol=tolerance, rtol=0)


@pytest.mark.parametrize(("options", "encoder", "pooling", "labels"), ARCHITECTURES)
@given(texts=TEXTS, other_texts=TEXTS, row=st.integers(0, BATCH - 1), fraction=st.floats(0, 1))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_neither_padding_nor_other_texts_change_an_answer(
    options: str,
    encoder: str,
    pooling: str,
    labels: int,
    texts: list[list[int]],
    other_texts: list[list[int]],
    row: int,
    fraction: float,
) -> None:
    _, forward = classifier(options, encoder, pooling, labels)
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
    other_ids, there = padded([*other_texts[:-1], texts[row]], LONGEST + 1, lambda room: 0)
    assert_same_text(answers, row, where[row], forward(other_ids), BATCH - 1, there[-1])


def assert_lawful(ids: np.ndarray, answers: Outputs) -> None:
    real, attention = ids != 0, answers["attention"]
    assert {name: output.dtype for name, output in answers.items()} == dict.fromkeys(answers, np.dtype("float32"))
    assert all(answers[name].shape == ids.shape for name in answers.keys() - {"logits"})
    assert all(np.isfinite(output).all() for output in answers.values())
    assert (attention >= 0).all()
    assert (attention[~real] == 0).all()
    assert (answers.get("contributions", attention)[~real] == 0).all()
    np.testing.assert_allclose(attention.sum(axis=1), real.any(axis=1), atol=1e-5)


SUMMED = [architecture for architecture in ARCHITECTURES if OPTIONS[architecture[0]][0] not in NOT_SUMMED]


@pytest.mark.parametrize(("options", "encoder", "pooling", "labels"), SUMMED)
@given(texts=TEXTS)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_contributions_and_base_sum_to_the_log_odds(
    options: str, encoder: str, pooling: str, labels: int, texts: list[list[int]]
) -> None:
    model, forward = classifier(options, encoder, pooling, labels)
    answers = forward(padded(texts, LONGEST + 1, lambda room: 0)[0])
    assert answers["logits"].shape == (BATCH, labels)
    for logits, contributions in zip(answers["logits"], answers["contributions"], strict=True):
        target = 1 if labels == 2 else int(logits.argmax())
        scores = np.log(probabilities(logits))
        log_odds = scores[target] - np.delete(scores, target).mean()
        base = model.get_layer(HEAD).base(target) / TEMPERATURE
        assert base + contributions.sum(dtype="float64") / TEMPERATURE == pytest.approx(log_odds, abs=1e-4)


@pytest.mark.parametrize("mechanism", sorted(NOT_SUMMED))
def test_mechanisms_that_do_not_sum_values_have_no_contributions(mechanism: str) -> None:
    model, _ = classifier(mechanism, "none", "mean", 2)
    assert set(model.output) == {"logits", "attention"}
    assert MECHANISMS[mechanism].attention_is == "approximate"


def test_every_mechanism_describes_its_weights() -> None:
    for facts in MECHANISMS.values():
        assert facts.attention_is in ("exact", "approximate")
        assert len(facts.token_weight_rule) > 20


EXACT = [options for options, (mechanism, _) in OPTIONS.items() if MECHANISMS[mechanism].attention_is == "exact"]


@pytest.mark.parametrize("options", [options for options in EXACT if OPTIONS[options][0] != READS_IDS])
def test_exact_attention_gives_the_coefficients_of_the_values(options: str) -> None:
    """logits = W^T (sum of attention times values) + b."""
    model, _ = classifier(options, "none", "mean", 3)
    ids = np.array([[3, 1, 4, 1, 5, 9]], "int32")
    values = to_numpy(model.get_layer(EMBEDDING)(ids))[0]
    if OPTIONS[options][0] == "elementwise":
        values = values * to_numpy(model.get_layer("attention").value_gain)
    answers = {name: to_numpy(output)[0] for name, output in model(ids).items()}
    head = model.get_layer(HEAD)
    expected = answers["attention"] @ values @ to_numpy(head.kernel) + to_numpy(head.bias)
    np.testing.assert_allclose(answers["logits"], expected, atol=1e-5)


def test_attention_is_the_same_for_sum_and_mean() -> None:
    """The weights do not depend on the pooling; the logits do."""
    mean, sum_ = (classifier("dot_product", "none", pooling, 2)[1] for pooling in ("mean", "sum"))
    ids = np.array([[3, 1, 4, 0], [5, 9, 2, 6]], "int32")
    np.testing.assert_allclose(mean(ids)["attention"], sum_(ids)["attention"], atol=1e-6)
    assert np.abs(mean(ids)["logits"] - sum_(ids)["logits"]).max() > 0.1


def test_every_dropout_applies_only_in_training() -> None:
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
def test_mixed_precision_gives_float32_answers_near_the_exact_ones(mechanism: Any) -> None:
    ids = np.array([[3, 1, 4, 1, 5, 9, 0], [0] * 7], "int32")
    exact = classifier(mechanism, "none", "mean", 2)[0]
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = build_classifier(small(mechanism=mechanism, **OPTIONS[mechanism][1]))
    finally:
        keras.config.set_dtype_policy("float32")
    mixed.set_weights(exact.get_weights())
    for name, output in mixed(ids).items():
        assert keras.backend.standardize_dtype(output.dtype) == "float32"
        np.testing.assert_allclose(to_numpy(output), to_numpy(exact(ids)[name]), atol=0.1)


def test_a_classifier_learns() -> None:
    """Learn to tell apart two words with opposite labels, through every part."""
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
