"""Scaled dot-product self-attention without parameters: the harness, its equation, and the faults of `attention_1`."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models.layers import MaskedPooling, ScaledDotProductSelfAttention
from tests.layer_checks import Case, check_case, to_numpy
from tests.models import numpy_reference as reference

STATES = np.random.default_rng(7).normal(size=(4, 5, 3)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]], "bool")
LN3 = float(np.log(3))  # softmax of (ln 1, ln 3) is (1/4, 3/4)

REAL = STATES[0].astype("float64")
PADDED = np.concatenate([REAL, np.full((3, 3), 0.5)])
PADDED_MASK = np.array([True] * 5 + [False] * 3)

CASES = {
    "sqrt_of_the_width": Case(ScaledDotProductSelfAttention, {}, (STATES,), {"mask": MASK}),
    "another_scale": Case(ScaledDotProductSelfAttention, {"scale": 0.7}, (STATES,), {"mask": MASK}),
}


@pytest.mark.parametrize("case", CASES)
def test_layer_passes_the_harness(case: str, tmp_path: Path) -> None:
    check_case(CASES[case], tmp_path)


def test_dot_product_by_hand() -> None:
    root = np.sqrt(LN3)  # scores: root * root = ln 3 with itself, 0 with the other
    states = np.array([[[root], [0], [9]]], "float32")
    layer = ScaledDotProductSelfAttention(scale=1.0)
    context, scores = layer(states, mask=np.array([[1, 1, 0]], bool), return_attention_scores=True)
    np.testing.assert_allclose(to_numpy(scores), [[[0.75, 0.25, 0], [0.5, 0.5, 0], [0, 0, 0]]], atol=1e-6)
    np.testing.assert_allclose(to_numpy(context), [[[0.75 * root], [0.5 * root], [0]]], atol=1e-6)


def test_dot_product_is_its_equation_and_equals_keras() -> None:
    context, scores = ScaledDotProductSelfAttention()(STATES, mask=MASK, return_attention_scores=True)
    for row, (states, mask) in enumerate(zip(STATES.astype("float64"), MASK, strict=True)):
        expected_context, expected_scores = reference.dot_product(states, mask)
        np.testing.assert_allclose(to_numpy(scores)[row], expected_scores, atol=1e-6)
        np.testing.assert_allclose(to_numpy(context)[row], expected_context, atol=1e-6)
    keras_own = keras.layers.Attention()([STATES / np.sqrt(3), STATES])
    np.testing.assert_allclose(to_numpy(ScaledDotProductSelfAttention()(STATES)), to_numpy(keras_own), atol=1e-6)


# --- faults of `attention_1` ---


def test_attention_1_sees_padding_and_ours_does_not() -> None:
    published = [reference.attention_1_as_published(states) for states in (REAL, PADDED)]
    assert np.abs(published[0] - published[1]).max() > 0.5
    ours = []
    for states, mask in ((REAL, PADDED_MASK[:5]), (PADDED, PADDED_MASK)):
        context = ScaledDotProductSelfAttention()(states[None].astype("float32"), mask=mask[None])
        ours.append(to_numpy(MaskedPooling("sum")(context, mask=mask[None])))
    np.testing.assert_allclose(ours[0], published[0][None], rtol=1e-5)
    np.testing.assert_allclose(ours[1], ours[0], atol=1e-6)


def test_attention_1_grows_with_the_text_and_a_mean_does_not() -> None:
    twice = np.concatenate([REAL, REAL])
    assert np.allclose(reference.attention_1_as_published(twice), 2 * reference.attention_1_as_published(REAL))
    means = [
        to_numpy(MaskedPooling("mean")(ScaledDotProductSelfAttention()(states[None].astype("float32"))))
        for states in (REAL, twice)
    ]
    np.testing.assert_allclose(means[1], means[0], atol=1e-6)


def test_large_states_of_attention_1_attend_to_themselves_without_a_scale() -> None:
    """The diagonal of its scores is ||h||^2 / sqrt(width), which outgrows the rest in wide states."""
    states = np.random.default_rng(1).normal(size=(1, 200, 256)).astype("float32")

    def on_itself(scale: float | None) -> Any:
        _, scores = ScaledDotProductSelfAttention(scale)(states, return_attention_scores=True)
        return to_numpy(scores)[0].diagonal().mean()

    published = reference.softmax(states[0] @ states[0].T / np.sqrt(256)).diagonal().mean()
    assert published > 0.99
    np.testing.assert_allclose(on_itself(None), published, rtol=1e-5)
    assert on_itself(256.0) < 0.05
