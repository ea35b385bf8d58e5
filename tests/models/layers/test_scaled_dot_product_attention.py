"""Scaled dot-product attention: the harness, its equation, and the faults of the layer of keras-self-attention."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from models.layers import ScaledDotProductAttention, ScaledDotProductSelfAttention
from tests.layer_checks import Case, check_case, to_numpy
from tests.models import numpy_reference as reference

GENERATOR = np.random.default_rng(7)
STATES = GENERATOR.normal(size=(4, 5, 3)).astype("float32")
KEYS = GENERATOR.normal(size=(4, 5, 3)).astype("float32")
VALUES = GENERATOR.normal(size=(4, 5, 2)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]], "bool")
LN3 = float(np.log(3))  # softmax of (ln 1, ln 3) is (1/4, 3/4)
EARLIER = np.tril(np.ones((5, 5), bool))

# Six keys for five queries, with different padding.
SIX_KEYS = GENERATOR.normal(size=(4, 6, 3)).astype("float32")
SIX_VALUES = GENERATOR.normal(size=(4, 6, 2)).astype("float32")
SIX_MASK = np.array([[0, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0], [0] * 6, [1] * 6], "bool")

CASES = {
    "one_tensor": Case(ScaledDotProductAttention, {}, (STATES,), {"mask": MASK}),
    "one_tensor_of_every_option": Case(
        ScaledDotProductAttention,
        {"return_attention": True, "history_only": True},
        (STATES,),
        {"mask": MASK, "sees": EARLIER},
    ),
    "query_key_value": Case(ScaledDotProductAttention, {}, (STATES, KEYS, VALUES), {"mask": MASK, "as_list": True}),
    "query_key_value_of_every_option": Case(
        ScaledDotProductAttention,
        {"return_attention": True, "history_only": True},
        (STATES, KEYS, VALUES),
        {"mask": MASK, "as_list": True, "sees": EARLIER},
    ),
}


def as_published(scores: np.ndarray, key_mask: np.ndarray) -> np.ndarray:
    """The map of keras-self-attention 0.51 for scaled scores."""
    return reference.softmax(scores - 10000.0 * ~key_mask[None, :])


@pytest.mark.parametrize("case", CASES)
def test_layer_passes_the_harness(case: str, tmp_path: Path) -> None:
    check_case(CASES[case], tmp_path)


# --- numbers by hand, and the equation ---


def test_scaled_dot_product_by_hand() -> None:
    # One feature, so the scale is 1; scores are ln 3 * key.
    query, key = np.array([[[LN3], [0], [7]]], "float32"), np.array([[[0], [1], [9]]], "float32")
    value = np.array([[[4, 0], [8, 4], [100, 100]]], "float32")
    masks = [np.array([[1, 1, 0]], bool), np.array([[1, 1, 0]], bool), None]
    layer = ScaledDotProductAttention()
    context, scores = layer([query, key, value], mask=masks, return_attention_scores=True)
    np.testing.assert_allclose(to_numpy(scores), [[[0.25, 0.75, 0], [0.5, 0.5, 0], [0, 0, 0]]], atol=1e-6)
    np.testing.assert_allclose(to_numpy(context), [[[7, 3], [6, 2], [0, 0]]], rtol=1e-6)


@pytest.mark.parametrize("history_only", [False, True])
def test_scaled_dot_product_is_its_equation(history_only: bool) -> None:
    layer = ScaledDotProductAttention(history_only=history_only)
    inputs, masks = [STATES, SIX_KEYS, SIX_VALUES], [MASK, SIX_MASK, SIX_MASK]
    context, scores = layer(inputs, mask=masks, return_attention_scores=True)
    for row in range(4):
        raw, sees = np.zeros((5, 6)), np.zeros((5, 6), bool)
        for t in range(5):
            for s in range(6):
                raw[t, s] = STATES[row, t].astype("float64") @ SIX_KEYS[row, s] / np.sqrt(3)
                sees[t, s] = MASK[row, t] and SIX_MASK[row, s] and (s <= t or not history_only)
        expected = reference.real_softmax(raw, sees)
        np.testing.assert_allclose(to_numpy(scores)[row], expected, atol=1e-6)
        np.testing.assert_allclose(to_numpy(context)[row], expected @ SIX_VALUES[row], atol=1e-6)


def test_one_tensor_gives_self_attention() -> None:
    expected = to_numpy(ScaledDotProductSelfAttention()(STATES, mask=MASK))
    layer = ScaledDotProductAttention()
    for inputs, mask in ((STATES, MASK), ([STATES], [MASK]), ([STATES] * 3, [MASK] * 3), ([STATES] * 3, MASK)):
        np.testing.assert_array_equal(to_numpy(layer(inputs, mask=mask)), expected)


# --- masks ---


@pytest.mark.parametrize(
    ("masks", "query_mask", "key_mask"),
    [
        (None, np.ones_like(MASK), np.ones_like(SIX_MASK)),
        ([None, None, None], np.ones_like(MASK), np.ones_like(SIX_MASK)),
        ([MASK, None, None], MASK, np.ones_like(SIX_MASK)),
        ([MASK], MASK, np.ones_like(SIX_MASK)),
        ([None, SIX_MASK], np.ones_like(MASK), SIX_MASK),
        ([None, None, SIX_MASK], np.ones_like(MASK), SIX_MASK),  # used for the keys
        ([MASK, SIX_MASK, None], MASK, SIX_MASK),
    ],
    ids=["none", "nones", "query", "query_alone", "key", "value", "query_and_key"],
)
def test_every_mask_is_optional(masks: Any, query_mask: np.ndarray, key_mask: np.ndarray) -> None:
    layer = ScaledDotProductAttention()
    _, scores = layer([STATES, SIX_KEYS, SIX_VALUES], mask=masks, return_attention_scores=True)
    assert ((to_numpy(scores) > 0) == query_mask[:, :, None] & key_mask[:, None, :]).all()


def test_invalid_inputs_and_masks_are_clear_errors() -> None:
    with pytest.raises(ValueError, match=r"Expected one tensor or \[query, key, value\]. Received a list of 2"):
        ScaledDotProductAttention()([STATES, KEYS])
    with pytest.raises(ValueError, match=r"Expected no more masks than inputs. Received 2 masks for 1 inputs"):
        ScaledDotProductAttention()(STATES, mask=[MASK, MASK])


# --- compatibility with keras-self-attention ---


def test_the_option_returns_a_list_and_the_call_a_tuple() -> None:
    layer = ScaledDotProductAttention(return_attention=True)
    listed, asked = layer(STATES, mask=MASK), layer(STATES, mask=MASK, return_attention_scores=True)
    assert isinstance(listed, list)
    assert isinstance(asked, tuple)
    for one, other in zip(listed, asked, strict=True):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(other))


def test_a_model_loads_and_uses_the_masks_of_embeddings(tmp_path: Path) -> None:
    queries, keys = (keras.Input((None,), dtype="int32") for _ in range(2))
    embedding = keras.layers.Embedding(9, 3, mask_zero=True)
    inputs = [embedding(queries), embedding(keys), embedding(keys)]
    context, weights = ScaledDotProductAttention(return_attention=True)(inputs)
    assert context._keras_mask is inputs[0]._keras_mask
    assert getattr(weights, "_keras_mask", None) is None
    model = keras.Model([queries, keys], [context, weights])
    model.save(tmp_path / "model.keras")
    custom_objects = ScaledDotProductAttention.get_custom_objects()
    again = keras.models.load_model(tmp_path / "model.keras", custom_objects=custom_objects, safe_mode=True)
    ids = [np.array([[1, 2, 0]]), np.array([[0, 3, 4, 5]])]
    assert (to_numpy(again(ids)[1])[0] > 0).tolist() == [[False, True, True, True]] * 2 + [[False] * 4]
    for one, other in zip(again(ids), model(ids), strict=True):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(other))


# --- faults of the layer of keras-self-attention ---


def test_upstream_attends_to_a_text_of_padding_and_ours_gives_zeros() -> None:
    scores = GENERATOR.normal(size=(5, 5))
    np.testing.assert_allclose(as_published(scores, np.zeros(5, bool)), reference.softmax(scores))
    context, ours = ScaledDotProductAttention()(STATES[:1], mask=~MASK[:1], return_attention_scores=True)
    assert (to_numpy(context) == 0).all()
    assert (to_numpy(ours) == 0).all()


def test_upstream_attends_from_padded_queries_and_ours_does_not() -> None:
    states, mask = STATES[1].astype("float64"), MASK[1]
    assert as_published(states @ states.T / np.sqrt(3), mask)[~mask].sum() == pytest.approx(2)
    context, ours = ScaledDotProductAttention()(STATES, mask=MASK, return_attention_scores=True)
    assert (to_numpy(ours)[1, ~mask] == 0).all()
    assert (to_numpy(context)[1, ~mask] == 0).all()


def test_upstream_keeps_tensors_on_the_layer_and_ours_does_not() -> None:
    """Kept tensors hold memory, and those of a traced call cannot be read."""

    class Upstream(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            self.attention = ops.softmax(ops.matmul(inputs, ops.transpose(inputs, (0, 2, 1))))
            return ops.matmul(self.attention, inputs)

    kept = []
    for layer in (Upstream(), ScaledDotProductAttention(), ScaledDotProductAttention(return_attention=True)):
        layer(STATES)
        kept.append({name for name, value in vars(layer).items() if keras.ops.is_tensor(value)})
        assert not {"intensity", "attention"} & set(vars(layer)) or type(layer) is Upstream
    assert kept == [{"attention"}, set(), set()]
