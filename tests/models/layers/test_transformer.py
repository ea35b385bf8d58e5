import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models.layers import TransformerBlock
from tests.layer_checks import Case, check_case, to_numpy
from tests.models import numpy_reference as reference
from tests.models.heads_reference import check_padding

STATES = np.random.default_rng(7).normal(size=(4, 5, 4)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]], "bool")
DISTANCES = np.subtract.outer(np.arange(5), np.arange(5))  # [query, key]
KEY_BIAS = frozenset({"key/bias"})

CASES = {
    "transformer": Case(TransformerBlock, {"num_heads": 2}, (STATES,), {"mask": MASK, "without_gradient": KEY_BIAS}),
    "transformer_of_every_option": Case(
        TransformerBlock,
        {
            "num_heads": 3,
            "key_dim": 2,
            "ff_dim": 5,
            "activation": "relu",
            "dropout": 0.5,
            "attention_dropout": 0.5,
            "norm": "pre",
            "epsilon": 1e-3,
            "use_bias": False,
            "kernel_initializer": keras.initializers.RandomNormal(stddev=0.1),
            "kernel_regularizer": keras.regularizers.L2(0.1),
            "causal": True,
        },
        (STATES,),
        {"mask": MASK, "sees": DISTANCES >= 0},
    ),
    "transformer_within_a_window": Case(
        TransformerBlock,
        {"num_heads": 2, "norm": "pre", "window": 2},
        (STATES,),
        {"mask": MASK, "without_gradient": KEY_BIAS, "sees": abs(DISTANCES) < 2},
    ),
    "transformer_within_a_causal_window": Case(
        TransformerBlock,
        {"num_heads": 1, "causal": True, "window": 3},
        (STATES,),
        {"mask": MASK, "without_gradient": KEY_BIAS, "sees": (DISTANCES >= 0) & (DISTANCES < 3)},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_layer_passes_the_harness(case: str, tmp_path: Path) -> None:
    check_case(CASES[case], tmp_path)


def test_features_not_divisible_by_the_heads_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"Expected features divisible by num_heads.*Received 4 .*num_heads=3"):
        TransformerBlock(3).build((None, None, 4))
    assert TransformerBlock(3, key_dim=2)(STATES).shape == STATES.shape


# --- numbers by hand, and the equation ---


def test_transformer_block_by_hand() -> None:
    """One head with uniform weights and identity values; the feed-forward network is zero."""
    eye, nothing = np.eye(2), np.zeros((2, 2))
    layer = TransformerBlock(1, ff_dim=2, norm="pre", use_bias=False)
    layer.build((None, None, 2))
    norm = [np.ones(2), np.zeros(2)]
    layer.set_weights([nothing, nothing, eye, eye, *norm, nothing, nothing, *norm])
    # Normalised states are (-1, 1), (-1, 1) and (1, -1), with mean (-1, 1) / 3.
    states, mask = np.array([[[1, 3], [0, 4], [9, 3], [9, 9]]], "float32"), np.array([[1, 1, 1, 0]], bool)
    output, scores = layer(states, mask=mask, return_attention_scores=True)
    np.testing.assert_allclose(to_numpy(scores)[0, 0, :3], [[1 / 3, 1 / 3, 1 / 3, 0]] * 3, atol=1e-6)
    np.testing.assert_allclose(to_numpy(scores)[0, 0, 3], [0, 0, 0, 0])
    expected = [[1 - 1 / 3, 3 + 1 / 3], [-1 / 3, 4 + 1 / 3], [9 - 1 / 3, 3 + 1 / 3], [0, 0]]
    np.testing.assert_allclose(to_numpy(output)[0], expected, atol=1e-5)


def one_text(states: np.ndarray, looks: np.ndarray, heads: int, norm: str, weights: list[np.ndarray]) -> Any:
    """Compute output[tokens, features] and maps[heads, query, key] token by token and head by head."""
    query, key, value, output = weights[0:2], weights[2:4], weights[4:6], weights[6:8]
    (first_norm, first, second, second_norm) = (weights[start : start + 2] for start in (8, 10, 12, 14))

    def linear(vector: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
        return vector @ kernel + bias

    def normalised(vector: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> np.ndarray:
        return (vector - vector.mean()) / np.sqrt(vector.var() + 1e-6) * gamma + beta

    def feed_forward(vector: np.ndarray) -> np.ndarray:
        hidden = linear(vector, *first)
        gelu = [each * (1 + math.erf(each / math.sqrt(2))) / 2 for each in hidden]
        return linear(np.array(gelu), *second)

    read = [normalised(state, *first_norm) if norm == "pre" else state for state in states]
    queries, keys, values = (
        np.array([np.split(linear(state, *each), heads) for state in read]) for each in (query, key, value)
    )
    scores = np.einsum("qhf,khf->hqk", queries, keys) / np.sqrt(queries.shape[-1])
    maps = np.array([reference.real_softmax(each, looks) for each in scores])
    result = np.zeros(states.shape)
    for t, state in enumerate(states):
        attended = linear(np.concatenate([maps[h, t] @ values[:, h] for h in range(heads)]), *output)
        if not looks[t].any():
            continue
        if norm == "pre":
            between = state + attended
            result[t] = between + feed_forward(normalised(between, *second_norm))
        else:
            between = normalised(state + attended, *first_norm)
            result[t] = normalised(between + feed_forward(between), *second_norm)
    return result, maps


@pytest.mark.parametrize(
    ("arguments", "sees"),
    [
        ({"norm": "post"}, DISTANCES == DISTANCES),
        ({"norm": "pre", "key_dim": 3, "ff_dim": 5, "causal": True}, DISTANCES >= 0),
        ({"norm": "post", "window": 2}, abs(DISTANCES) < 2),
        ({"norm": "pre", "window": 2, "causal": True}, (DISTANCES >= 0) & (DISTANCES < 2)),
    ],
    ids=["post", "pre_causal", "post_within_a_window", "pre_within_a_causal_window"],
)
def test_transformer_block_is_its_equation(arguments: dict[str, Any], sees: np.ndarray) -> None:
    layer = drawn(TransformerBlock(2, **arguments))
    output, scores = layer(STATES, mask=MASK, return_attention_scores=True)
    weights = [to_numpy(weight).astype("float64") for weight in layer.weights]
    for row, (states, mask) in enumerate(zip(STATES.astype("float64"), MASK, strict=True)):
        expected = one_text(states, sees & reference.pairs(mask), 2, arguments["norm"], weights)
        np.testing.assert_allclose(to_numpy(output)[row], expected[0], atol=1e-5)
        np.testing.assert_allclose(to_numpy(scores)[row], expected[1], atol=1e-5)


def drawn(layer: TransformerBlock) -> TransformerBlock:
    layer.build((None, None, STATES.shape[-1]))
    generator = np.random.default_rng(3)
    layer.set_weights([generator.normal(scale=0.7, size=weight.shape) for weight in layer.weights])
    return layer


# --- options ---


@pytest.mark.parametrize("arguments", [{}, {"norm": "pre"}, {"window": 2}, {"window": 2, "causal": True}], ids=repr)
def test_the_side_of_the_padding_does_not_matter(arguments: dict[str, Any]) -> None:
    check_padding(drawn(TransformerBlock(2, **arguments)), STATES[:1, :3])


def test_a_window_as_wide_as_the_text_equals_no_window() -> None:
    for causal in (False, True):
        whole, windowed = (drawn(TransformerBlock(2, causal=causal, window=window)) for window in (None, 5))
        for one, other in zip(
            *(each(STATES, mask=MASK, return_attention_scores=True) for each in (whole, windowed)), strict=True
        ):
            np.testing.assert_allclose(to_numpy(one), to_numpy(other), atol=1e-5)


@pytest.mark.parametrize("rates", [{"dropout": 0.5}, {"attention_dropout": 0.5}], ids=repr)
@pytest.mark.parametrize("window", [None, 2])
def test_dropout_applies_only_in_training_and_never_to_the_maps(rates: dict[str, float], window: int | None) -> None:
    layer = drawn(TransformerBlock(2, window=window, **rates))
    still, maps = (to_numpy(each) for each in layer(STATES, mask=MASK, training=False, return_attention_scores=True))
    again = to_numpy(layer(STATES, mask=MASK))
    moved, maps_in_training = (
        to_numpy(each) for each in layer(STATES, mask=MASK, training=True, return_attention_scores=True)
    )
    np.testing.assert_array_equal(again, still)
    assert np.abs(moved - still).max() > 0.1
    assert (moved[~MASK] == 0).all()
    np.testing.assert_array_equal(maps_in_training, maps)


def test_kernels_of_one_shape_start_different() -> None:
    layer = TransformerBlock(2, kernel_initializer=keras.initializers.GlorotUniform())
    layer.build((None, None, 4))
    kernels = [to_numpy(each.kernel) for each in (layer.query, layer.key, layer.value, layer.attention_output)]
    for one, other in pairwise(kernels):
        assert np.abs(one - other).max() > 0.01


def test_a_regularizer_counts_every_kernel_once() -> None:
    layer = TransformerBlock(2, kernel_regularizer=keras.regularizers.L2(1.0))
    layer.build((None, None, 4))
    kernels = [weight for weight in layer.weights if weight.name == "kernel"]
    assert len(kernels) == 6
    total = sum(float((to_numpy(kernel) ** 2).sum()) for kernel in kernels)
    assert float(to_numpy(sum(layer.losses))) == pytest.approx(total, rel=1e-5)
