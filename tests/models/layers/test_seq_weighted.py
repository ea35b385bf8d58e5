"""Pooling by a linear score: the harness, its equation, and the faults of the layer of keras-self-attention."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models.layers import SeqWeightedAttention
from tests.layer_checks import Case, check_case, to_numpy
from tests.models import numpy_reference as reference

STATES = np.random.default_rng(7).normal(size=(4, 5, 3)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]], "bool")
LN3 = float(np.log(3))  # softmax of (ln 1, ln 3) is (1/4, 3/4)

CASES = {
    "default": Case(SeqWeightedAttention, {}, (STATES,), {"mask": MASK, "without_gradient": frozenset({"bias"})}),
    "of_every_option": Case(
        SeqWeightedAttention,
        {
            "use_bias": False,
            "return_attention": True,
            "kernel_initializer": "he_normal",
            "kernel_regularizer": keras.regularizers.L2(0.1),
            "kernel_constraint": keras.constraints.MaxNorm(3),
        },
        (STATES,),
        {"mask": MASK},
    ),
}


def weighted(layer: keras.layers.Layer, *weights: Any) -> keras.layers.Layer:
    layer.build((None, None, len(weights[0])))
    layer.set_weights([np.array(weight, "float32") for weight in weights])
    return layer


def as_published(states: np.ndarray, mask: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Weights of keras-self-attention 0.51 for one text: states[tokens, features] -> weights[tokens]."""
    scores = (states @ kernel)[:, 0] - 10000.0 * ~mask
    exponentials = np.exp(scores - scores.max())
    return exponentials / (exponentials.sum() + 1e-7)


@pytest.mark.parametrize("case", CASES)
def test_layer_passes_the_harness(case: str, tmp_path: Path) -> None:
    check_case(CASES[case], tmp_path)


def test_seq_weighted_by_hand() -> None:
    layer = weighted(SeqWeightedAttention(), [[1], [0]], [5])  # z is the first feature plus 5
    states = np.array([[[0, 4], [LN3, 8], [100, 100]]], "float32")
    pooled, weights = layer(states, mask=np.array([[1, 1, 0]], bool), return_attention_scores=True)
    np.testing.assert_allclose(to_numpy(weights), [[0.25, 0.75, 0]], atol=1e-6)
    np.testing.assert_allclose(to_numpy(pooled), [[0.75 * LN3, 0.25 * 4 + 0.75 * 8]], rtol=1e-6)


@pytest.mark.parametrize("use_bias", [True, False])
def test_seq_weighted_is_its_equation(use_bias: bool) -> None:
    layer = SeqWeightedAttention(use_bias, kernel_initializer="random_normal")
    pooled, weights = layer(STATES, mask=MASK, return_attention_scores=True)
    kernel = layer.get_weights()[0].astype("float64")
    for row, (states, mask) in enumerate(zip(STATES.astype("float64"), MASK, strict=True)):
        expected = reference.real_softmax((states @ kernel)[:, 0], mask)
        np.testing.assert_allclose(to_numpy(weights)[row], expected, atol=1e-6)
        np.testing.assert_allclose(to_numpy(pooled)[row], expected @ states, atol=1e-6)


# --- compatibility with keras-self-attention ---


def test_weights_have_upstream_shapes_and_initial_values() -> None:
    layer = SeqWeightedAttention()
    layer.build((None, None, 500))
    kernel, bias = layer.get_weights()
    assert kernel.shape == (500, 1)
    assert bias.tolist() == [0]
    assert 0.045 < np.abs(kernel).max() <= 0.05


def test_the_option_returns_a_list_and_the_call_a_tuple() -> None:
    layer = SeqWeightedAttention(return_attention=True, kernel_initializer="random_normal")
    listed = layer(STATES, mask=MASK)
    assert isinstance(listed, list)
    asked = layer(STATES, mask=MASK, return_attention_scores=True)
    assert isinstance(asked, tuple)
    for one, other in zip(listed, asked, strict=True):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(other))


def test_a_model_loads_with_its_custom_objects(tmp_path: Path) -> None:
    ids = keras.Input((None,), dtype="int32")
    embedded = keras.layers.Embedding(9, 3, mask_zero=True)(ids)
    pooled, weights = SeqWeightedAttention(return_attention=True)(embedded)
    model = keras.Model(ids, [keras.layers.Dense(1)(pooled), weights])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(
        tmp_path / "model.keras", custom_objects=SeqWeightedAttention.get_custom_objects(), safe_mode=True
    )
    for one, other in zip(again(np.array([[1, 2, 0]])), model(np.array([[1, 2, 0]])), strict=True):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(other))


# --- faults of the layer of keras-self-attention ---


def test_upstream_pools_a_text_of_padding_and_ours_gives_zeros() -> None:
    layer = SeqWeightedAttention(kernel_initializer="random_normal")
    pooled, ours = layer(STATES[:1], mask=np.zeros((1, 5), bool), return_attention_scores=True)
    kernel, states = layer.get_weights()[0].astype("float64"), STATES[0].astype("float64")
    real, padding = as_published(states, np.ones(5, bool), kernel), as_published(states, np.zeros(5, bool), kernel)
    np.testing.assert_allclose(padding, real)
    assert (to_numpy(ours) == 0).all()
    assert (to_numpy(pooled) == 0).all()


def test_upstream_weights_sum_to_less_than_one_and_ours_to_one() -> None:
    kernel = np.ones((3, 1))
    alone = np.eye(5, dtype=bool)[0]
    assert as_published(STATES[0].astype("float64"), alone, kernel).sum() < 1
    layer = weighted(SeqWeightedAttention(use_bias=False), kernel)
    _, weights = layer(STATES[:1], mask=alone[None], return_attention_scores=True)
    assert to_numpy(weights).tolist() == [[1, 0, 0, 0, 0]]


def test_a_large_score_overrides_the_upstream_mask_and_not_ours() -> None:
    states, mask, kernel = np.array([[1.0], [20001.0]]), np.array([True, False]), np.ones((1, 1))
    assert as_published(states, mask, kernel)[1] > 0.99
    layer = weighted(SeqWeightedAttention(use_bias=False), kernel)
    _, weights = layer(states[None].astype("float32"), mask=mask[None], return_attention_scores=True)
    assert to_numpy(weights).tolist() == [[1, 0]]


def test_the_bias_cancels_in_the_softmax() -> None:
    answers = [weighted(SeqWeightedAttention(), np.ones((3, 1)), [bias])(STATES, mask=MASK) for bias in (0, 7)]
    np.testing.assert_allclose(to_numpy(answers[0]), to_numpy(answers[1]), atol=1e-5)


def test_upstream_has_no_regularizer_and_ours_has() -> None:
    layer = weighted(SeqWeightedAttention(kernel_regularizer=keras.regularizers.L2(0.5)), np.full((3, 1), 2), [9])
    np.testing.assert_allclose([to_numpy(loss) for loss in layer.losses], [0.5 * 3 * 4])
