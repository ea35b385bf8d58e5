"""Attention pooling: the harness, its equations, and the faults of `attention_2`."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models.layers import AdditiveAttentionPooling
from tests.layer_checks import Case, check_case, to_numpy
from tests.models import numpy_reference as reference

STATES = np.random.default_rng(7).normal(size=(4, 5, 3)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]], "bool")
LN3 = float(np.log(3))  # softmax of (ln 1, ln 3) is (1/4, 3/4)

REAL = STATES[0].astype("float64")
PADDED = np.concatenate([REAL, np.full((3, 3), 0.5)])
PADDED_MASK = np.array([True] * 5 + [False] * 3)

CASES = {
    "tanh": Case(AdditiveAttentionPooling, {"units": 4}, (STATES,), {"mask": MASK}),
    "tanh_of_every_option": Case(
        AdditiveAttentionPooling,
        {
            "units": 2,
            "temperature": 0.6,
            "use_bias": False,
            "activation": "softsign",
            "kernel_initializer": keras.initializers.RandomNormal(stddev=0.1),
            "query_initializer": "ones",
            "kernel_regularizer": keras.regularizers.L2(0.1),
            "kernel_constraint": keras.constraints.MaxNorm(3),
        },
        (STATES,),
        {"mask": MASK},
    ),
    "linear": Case(
        AdditiveAttentionPooling,
        {"score": "linear", "bias_initializer": "ones"},
        (STATES,),
        {"mask": MASK, "without_gradient": frozenset({"bias"})},
    ),
    "dot": Case(AdditiveAttentionPooling, {"score": "dot", "temperature": 2.0}, (STATES,), {"mask": MASK}),
}


def weighted(layer: keras.layers.Layer, width: int, *weights: Any) -> keras.layers.Layer:
    layer.build((None, None, width))
    layer.set_weights([np.array(weight, "float32") for weight in weights])
    return layer


@pytest.mark.parametrize("case", CASES)
def test_layer_passes_the_harness(case: str, tmp_path: Path) -> None:
    check_case(CASES[case], tmp_path)


# --- numbers by hand, and the equations ---


@pytest.mark.parametrize(
    ("arguments", "weights"),
    [
        ({"units": 1, "activation": "linear"}, ([[1], [0]], [5], [[1]])),  # z is the first feature plus 5
        ({"score": "linear"}, ([[1], [0]], [5])),
        ({"score": "linear", "temperature": 2.0}, ([[2], [0]], [5])),
        ({"score": "dot"}, ([[np.sqrt(2)], [0]],)),
    ],
    ids=["tanh", "linear", "temperature", "dot"],
)
def test_additive_pooling_by_hand(arguments: dict[str, Any], weights: tuple[Any, ...]) -> None:
    layer = weighted(AdditiveAttentionPooling(**arguments), 2, *weights)
    states = np.array([[[0, 4], [LN3, 8], [100, 100]]], "float32")
    pooled, shares = layer(states, mask=np.array([[1, 1, 0]], bool), return_attention_scores=True)
    np.testing.assert_allclose(to_numpy(shares), [[0.25, 0.75, 0]], atol=1e-6)
    np.testing.assert_allclose(to_numpy(pooled), [[0.75 * LN3, 0.25 * 4 + 0.75 * 8]], rtol=1e-6)


@pytest.mark.parametrize("score", ["tanh", "linear", "dot"])
@pytest.mark.parametrize("temperature", [1.0, 0.4])
def test_additive_pooling_is_its_equation(score: Any, temperature: float) -> None:
    layer = AdditiveAttentionPooling(4, score, temperature=temperature, bias_initializer="random_normal")
    pooled, weights = layer(STATES, mask=MASK, return_attention_scores=True)
    learned = [each.astype("float64") for each in layer.get_weights()]
    for row, (states, mask) in enumerate(zip(STATES.astype("float64"), MASK, strict=True)):
        if score == "tanh":
            kernel, bias, query = learned
            scores = [np.tanh(state @ kernel + bias) @ query for state in states]
        elif score == "linear":
            kernel, bias = learned
            scores = [state @ kernel + bias for state in states]
        else:
            (kernel,) = learned
            scores = [state @ kernel / np.sqrt(3) for state in states]
        expected = reference.real_softmax(np.array(scores)[:, 0] / temperature, mask)
        np.testing.assert_allclose(to_numpy(weights)[row], expected, atol=1e-6)
        np.testing.assert_allclose(to_numpy(pooled)[row], expected @ states, atol=1e-6)


def test_a_config_without_score_and_temperature_loads() -> None:
    layer = AdditiveAttentionPooling(4)
    pooled = to_numpy(layer(STATES, mask=MASK))
    config = layer.get_config()
    del config["score"], config["temperature"]
    again = AdditiveAttentionPooling.from_config(config)
    again.build(STATES.shape)
    assert [weight.name for weight in again.weights] == ["kernel", "bias", "query"]
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(to_numpy(again(STATES, mask=MASK)), pooled)


def test_a_higher_temperature_evens_the_weights_out() -> None:
    entropies = []
    for temperature in (0.1, 1.0, 10.0):
        layer = weighted(AdditiveAttentionPooling(score="linear", temperature=temperature), 3, [[1], [2], [-1]], [0])
        _, weights = layer(STATES[:1], return_attention_scores=True)
        entropies.append(float(-(to_numpy(weights) * np.log(to_numpy(weights) + 1e-30)).sum()))
    assert entropies[0] < entropies[1] < entropies[2] < np.log(5)


# --- faults of `attention_2` and of its relatives ---


def test_attention_2_weights_padding_and_ours_does_not() -> None:
    source = keras.initializers.RandomUniform(-0.1, 0.1, seed=0)
    layer = AdditiveAttentionPooling(4, use_bias=False, kernel_initializer=source, query_initializer=source)
    _, ours = layer(PADDED[None].astype("float32"), mask=PADDED_MASK[None], return_attention_scores=True)
    learned = [each.astype("float64") for each in layer.get_weights()]
    published = reference.attention_2_as_published(PADDED, *learned)
    assert published[~PADDED_MASK].sum() > 0.2
    unpadded = reference.attention_2_as_published(REAL, *learned)
    np.testing.assert_allclose(to_numpy(ours)[0], np.concatenate([unpadded, np.zeros(3)]), atol=1e-6)


def test_attention_2_has_a_fixed_size_and_no_bias_and_ours_has_options() -> None:
    """Without a bias u_t is an odd function of h_t, so opposite states get opposite scores."""
    kernel, query = np.random.default_rng(0).normal(size=(3, 3)), np.ones((3, 1))
    opposites = np.stack([REAL[0], -REAL[0]])
    weights = reference.attention_2_as_published(opposites, kernel, query)
    np.testing.assert_allclose(weights.sum(), 1)
    scores = np.log(weights) - np.log(weights).mean()
    np.testing.assert_allclose(scores[0], -scores[1])
    np.testing.assert_allclose(scores[0], (np.tanh(REAL[0] @ kernel) @ query)[0])
    # Ours can score the size of a state regardless of its sign.
    layer = weighted(AdditiveAttentionPooling(2), 3, [[1, -1], [1, -1], [1, -1]], [-3, -3], [[5], [5]])
    states = np.stack([REAL[0], -REAL[0], 0 * REAL[0]])[None].astype("float32")
    _, ours = layer(states, return_attention_scores=True)
    np.testing.assert_allclose(to_numpy(ours)[0, 0], to_numpy(ours)[0, 1], rtol=1e-5)
    assert to_numpy(ours)[0, 0] > to_numpy(ours)[0, 2]
    assert [tuple(weight.shape) for weight in layer.weights] == [(3, 2), (2,), (2, 1)]


def test_a_mask_of_minus_infinity_gives_nan_in_an_empty_row_and_ours_zeros() -> None:
    """As in ERASER's attention."""
    scores = np.where(np.zeros(3, bool), np.ones(3), -np.inf)
    with np.errstate(invalid="ignore"):
        assert np.isnan(reference.softmax(scores)).all()
    pooled, weights = AdditiveAttentionPooling(2)(STATES[:1], mask=~MASK[:1], return_attention_scores=True)
    assert (to_numpy(pooled) == 0).all()
    assert (to_numpy(weights) == 0).all()


def test_equal_states_get_equal_weights() -> None:
    """Weights depend on states only, not on words."""
    _, weights = AdditiveAttentionPooling(4)(np.ones((1, 5, 3), "float32"), return_attention_scores=True)
    np.testing.assert_allclose(to_numpy(weights), np.full((1, 5), 0.2), atol=1e-6)
