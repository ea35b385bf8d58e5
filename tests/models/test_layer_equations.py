"""Small layers: numbers worked by hand, and faults of the sources that they do not have."""

from typing import Any

import keras
import numpy as np
import pytest

from models.layers import (
    LinearHead,
    MaskedConvolution,
    MaskedPooling,
    PaddingMask,
    ScaledDotProductSelfAttention,
    SeqSelfAttention,
    TokenWeights,
)
from tests.layer_checks import to_numpy

STATES = np.random.default_rng(7).normal(size=(4, 5, 3)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]], "bool")


def weighted(layer: keras.layers.Layer, shapes: list[tuple[int, ...]], *weights: Any) -> keras.layers.Layer:
    layer.build(*shapes)
    layer.set_weights([np.array(weight, "float32") for weight in weights])
    return layer


# --- numbers worked by hand ---


def test_linear_head_by_hand() -> None:
    layer = weighted(LinearHead(2), [(None, 2), (None, None, 2), (None, None)], [[1, 3], [2, 0]], [0.5, 0.25])
    values = np.array([[[1, 0], [0, 1]]], "float32")
    coefficients = np.array([[0.25, 0.75]], "float32")  # pooled is (0.25, 0.75)
    outputs = layer(values[:, 0] * 0.25 + values[:, 1] * 0.75, values, coefficients)
    np.testing.assert_allclose(to_numpy(outputs["logits"]), [[0.25 + 1.5 + 0.5, 0.75 + 0.25]])
    # The contrast of label 1 is (3 - 1, 0 - 2).
    np.testing.assert_allclose(to_numpy(outputs["contributions"]), [[0.25 * 2, 0.75 * -2]])
    assert layer.base(1) == -layer.base(0) == -0.25


def test_linear_head_of_three_explains_the_label_it_gives() -> None:
    layer = LinearHead(3)
    weighted(layer, [(None, 1), (None, None, 1), (None, None)], [[1, 2, 9]], [3, 6, 0])
    values = np.array([[[1], [1]], [[0.5], [0.1]]], "float32")
    coefficients = np.array([[0.5, 0.5], [0.5, 0.5]], "float32")
    outputs = layer(np.array([[1], [0.3]], "float32"), values, coefficients)
    np.testing.assert_allclose(to_numpy(outputs["logits"]), [[4, 8, 9], [3.3, 6.6, 2.7]], rtol=1e-6)
    # Row 0 gives label 2: 9 - (1 + 2) / 2 = 7.5. Row 1 gives label 1: 2 - (1 + 9) / 2 = -3.
    np.testing.assert_allclose(to_numpy(outputs["contributions"]), [[3.75, 3.75], [-0.75, -0.15]], rtol=1e-6)
    np.testing.assert_allclose([layer.base(label) for label in range(3)], [0, 4.5, -4.5])


def test_linear_head_keeps_float32_weights_under_a_mixed_policy() -> None:
    layer = LinearHead(2, dtype="mixed_bfloat16")
    weighted(layer, [(None, 1), (None, None, 1), (None, None)], [[1.001, 3.003]], [0.0001, 0.0002])
    one = np.ones((1, 1), "float32")  # bfloat16 has no value between 1 and 1.0078
    outputs = layer(one, one[..., None], one)
    np.testing.assert_allclose(to_numpy(outputs["logits"]), [[1.0011, 3.0032]], rtol=1e-6)
    np.testing.assert_allclose(to_numpy(outputs["contributions"]), [[2.002]], rtol=1e-6)


def test_linear_head_drops_only_in_training() -> None:
    layer = weighted(LinearHead(2, dropout=0.5), [(None, 64), (None, None, 64), (None, None)], np.eye(64, 2), [0, 0])
    pooled, values, coefficients = np.ones((1, 64), "f"), np.ones((1, 1, 64), "f"), np.ones((1, 1), "f")
    np.testing.assert_allclose(to_numpy(layer(pooled, values, coefficients)["logits"]), [[1, 1]])
    assert set(to_numpy(layer(pooled, values, coefficients, training=True)["logits"]).ravel()) <= {0, 2}


def test_convolution_by_hand() -> None:
    layer = weighted(MaskedConvolution(1, 3, activation="linear"), [(None, None, 1)], [[[1]], [[2]], [[3]]], [10])
    states = np.array([[[5], [7], [100]]], "float32")
    output = layer(states, mask=np.array([[1, 1, 0]], bool))
    np.testing.assert_allclose(to_numpy(output), [[[2 * 5 + 3 * 7 + 10], [1 * 5 + 2 * 7 + 10], [0]]])


def test_pooling_by_hand() -> None:
    states, mask = np.array([[[1], [3], [100]]], "float32"), np.array([[1, 1, 0]], bool)
    np.testing.assert_allclose(to_numpy(MaskedPooling("mean")(states, mask=mask)), [[2]])
    np.testing.assert_allclose(to_numpy(MaskedPooling("sum")(states, mask=mask)), [[4]])


def test_token_weights_by_hand() -> None:
    scores = np.array([[[0.75, 0.25], [0.5, 0.5]]], "float32")
    weights = TokenWeights()(scores, np.array([[0.2, 0.8]], "float32"))
    np.testing.assert_allclose(to_numpy(weights), [[0.2 * 0.75 + 0.8 * 0.5, 0.2 * 0.25 + 0.8 * 0.5]], rtol=1e-6)


def test_padding_mask_by_hand() -> None:
    assert to_numpy(PaddingMask()(np.array([[0, 1, 2, 0]]))).tolist() == [[False, True, True, False]]
    assert to_numpy(PaddingMask(-1)(np.array([[0, -1]]))).tolist() == [[True, False]]


# --- faults of the sources ---


def test_a_mean_of_no_tokens_is_zero_and_keras_gives_nan() -> None:
    states, mask = np.ones((1, 2, 3), "float32"), np.zeros((1, 2), bool)
    assert np.isnan(to_numpy(keras.layers.GlobalAveragePooling1D()(states, mask=mask))).all()
    assert (to_numpy(MaskedPooling()(states, mask=mask)) == 0).all()


def test_a_keras_convolution_reads_padding_and_ours_does_not() -> None:
    layer = MaskedConvolution(2, 3, activation="linear")
    short, padded = STATES[:1, :3], np.concatenate([STATES[:1, :3], np.full((1, 2, 3), 9, "float32")], axis=1)
    mask = np.array([[True, True, True, False, False]])
    np.testing.assert_allclose(to_numpy(layer(padded, mask=mask))[:, :3], to_numpy(layer(short)), atol=1e-6)
    assert np.abs(to_numpy(layer.convolution(padded))[:, :3] - to_numpy(layer(short))).max() > 0.1


@pytest.mark.parametrize("layer_class", [ScaledDotProductSelfAttention, SeqSelfAttention, MaskedConvolution])
def test_layers_that_keep_positions_pass_the_mask_on(layer_class: type[keras.layers.Layer]) -> None:
    layer = layer_class(2) if layer_class is not ScaledDotProductSelfAttention else layer_class()
    ids = keras.Input((None,), dtype="int32")
    embedded = keras.layers.Embedding(5, 3, mask_zero=True)(ids)
    pooled = MaskedPooling()(layer(embedded))
    model = keras.Model(ids, pooled)
    answers = to_numpy(model(np.array([[1, 2, 0, 0], [0, 0, 1, 2]])))
    np.testing.assert_allclose(answers, np.repeat(to_numpy(model(np.array([[1, 2]]))), 2, axis=0), atol=1e-6)
