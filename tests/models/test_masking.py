import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from keras import backend, ops

from models.masking import attention_map, masked_softmax, uniform_weights, zero_padding
from tests.layer_checks import to_numpy
from tests.models import numpy_reference as reference

SHAPE = (3, 4)  # one shape, so that JAX compiles once
SCORES = npst.arrays("float32", SHAPE, elements=st.floats(-50, 50, width=32))
MASKS = npst.arrays(bool, SHAPE)


@given(scores=SCORES, mask=MASKS)
@settings(max_examples=50, deadline=None)
def test_masked_softmax_is_a_softmax_over_unmasked_entries(scores: np.ndarray, mask: np.ndarray) -> None:
    weights = to_numpy(masked_softmax(ops.array(scores), ops.array(mask)))
    np.testing.assert_allclose(weights, reference.real_softmax(scores.astype("float64"), mask), atol=1e-6)
    assert (weights[~mask] == 0).all()
    np.testing.assert_allclose(weights.sum(axis=-1), mask.any(axis=-1), atol=1e-6)


@given(scores=SCORES, mask=MASKS, junk=SCORES, shift=st.floats(-20, 20, width=32))
@settings(max_examples=50, deadline=None)
def test_masked_softmax_sees_neither_masked_entries_nor_a_constant(
    scores: np.ndarray, mask: np.ndarray, junk: np.ndarray, shift: float
) -> None:
    weights = to_numpy(masked_softmax(ops.array(scores), ops.array(mask)))
    other = np.where(mask, scores + np.float32(shift), junk * 1e6)
    np.testing.assert_allclose(to_numpy(masked_softmax(ops.array(other), ops.array(mask))), weights, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("masked", [[True, True, False], [False, True, False], [False, False, False]])
def test_masked_softmax_keeps_its_dtype_and_gives_exact_zeros(dtype: str, masked: list[bool]) -> None:
    if dtype == "float64" and backend.backend() == "jax":
        dtype = "float32"  # JAX has no float64 by default
    scores = ops.cast(ops.array([[-100.0, -200.0, 300.0]]), dtype)
    weights = masked_softmax(scores, ops.array([masked]))
    assert backend.standardize_dtype(weights.dtype) == dtype
    expected = [1.0 if position == (masked.index(True) if any(masked) else None) else 0.0 for position in range(3)]
    np.testing.assert_allclose(to_numpy(weights), [expected], atol=1e-6)
    assert (to_numpy(weights)[0, ~np.array(masked)] == 0).all()


def test_masked_softmax_along_another_axis_and_without_a_mask() -> None:
    scores, mask = np.arange(12, dtype="float32").reshape(SHAPE), np.array([[True], [False], [True]])
    weights = to_numpy(masked_softmax(ops.array(scores), ops.array(mask), axis=0))
    np.testing.assert_allclose(weights.sum(axis=0), 1, atol=1e-6)
    assert (weights[1] == 0).all()
    np.testing.assert_allclose(
        to_numpy(masked_softmax(ops.array(scores), None)),
        to_numpy(masked_softmax(ops.array(scores), ops.ones(SHAPE, "bool"))),
        atol=1e-7,
    )


def test_masked_softmax_of_a_lone_score_is_one_without_a_warning() -> None:
    scores = ops.array([[[7.0]], [[-3e38]]])
    assert to_numpy(masked_softmax(scores, None)).tolist() == [[[1]], [[1]]]
    assert to_numpy(masked_softmax(scores, ops.array([[[True]], [[False]]]))).tolist() == [[[1]], [[0]]]


def test_an_attention_map_follows_its_masks() -> None:
    scores = ops.zeros((1, 3, 4))
    queries, keys = np.array([[True, True, False]]), np.array([[False, True, True, True]])
    both = to_numpy(attention_map(scores, ops.array(queries), ops.array(keys), causal=True))
    assert both.tolist() == [[[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]]
    keys_alone = to_numpy(attention_map(scores, None, ops.array(keys)))
    np.testing.assert_allclose(keys_alone, [[[0, 1 / 3, 1 / 3, 1 / 3]] * 3], atol=1e-6)
    causal_alone = to_numpy(attention_map(scores, None, None, causal=True))
    expected = [[[1, 0, 0, 0], [1 / 2, 1 / 2, 0, 0], [1 / 3, 1 / 3, 1 / 3, 0]]]
    np.testing.assert_allclose(causal_alone, expected, atol=1e-6)


@pytest.mark.parametrize("constant", [1e4, 1e9])
def test_subtracting_a_constant_fails_and_masked_softmax_does_not(constant: float) -> None:
    """Keras subtracts 1e9 and keras-self-attention 1e4, so an empty row attends to padding."""
    scores, mask = np.array([[3, 1, 2]], "float32"), np.zeros((1, 3), bool)
    assert reference.softmax(scores - np.float32(constant) * ~mask).sum() == pytest.approx(1)
    assert (to_numpy(masked_softmax(ops.array(scores), ops.array(mask))) == 0).all()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float16", 2e-3), ("bfloat16", 1e-2)])
def test_uniform_weights_of_a_long_text(dtype: str, tolerance: float) -> None:
    mask = np.zeros((2, 5000), bool)
    mask[0, 17:4913] = True
    weights = uniform_weights(ops.array(mask), dtype)
    assert backend.standardize_dtype(weights.dtype) == dtype
    values = to_numpy(weights).astype("float64")
    np.testing.assert_allclose(values[0, mask[0]] * mask[0].sum(), 1, atol=tolerance)
    assert (values[~mask] == 0).all()


def test_zero_padding_drops_nan_and_infinity() -> None:
    states = np.array([[[1, 2], [np.nan, np.inf]]], "float32")
    np.testing.assert_array_equal(to_numpy(zero_padding(ops.array(states), ops.array([[True, False]])))[0, 1], [0, 0])
    assert zero_padding(states, None) is states
