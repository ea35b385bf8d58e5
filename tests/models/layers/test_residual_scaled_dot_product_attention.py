"""Residual scaled dot-product attention: the harness, its equation, and the faults of keras-self-attention's layer."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models.layers import ResidualScaledDotProductAttention, ScaledDotProductAttention
from tests.layer_checks import Case, check_case, to_numpy
from tests.models import numpy_reference as reference

GENERATOR = np.random.default_rng(7)
STATES = GENERATOR.normal(size=(4, 5, 3)).astype("float32")
KEYS = GENERATOR.normal(size=(4, 5, 3)).astype("float32")
VALUES = GENERATOR.normal(size=(4, 5, 2)).astype("float32")
PREVIOUS = GENERATOR.normal(size=(4, 5, 5)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]], "bool")
LN3 = float(np.log(3))  # softmax of (ln 1, ln 3) is (1/4, 3/4)
EARLIER = np.tril(np.ones((5, 5), bool))

# Six keys for five queries, with different padding.
SIX_KEYS = GENERATOR.normal(size=(4, 6, 3)).astype("float32")
SIX_VALUES = GENERATOR.normal(size=(4, 6, 2)).astype("float32")
SIX_PREVIOUS = GENERATOR.normal(size=(4, 5, 6)).astype("float32")
SIX_MASK = np.array([[0, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0], [0] * 6, [1] * 6], "bool")

EVERY_OPTION = {"return_attention": True, "history_only": True}
CASES = {
    "x": Case(ResidualScaledDotProductAttention, {}, (STATES,), {"mask": MASK}),
    "x_and_previous": Case(ResidualScaledDotProductAttention, {}, (STATES, PREVIOUS), {"mask": MASK, "as_list": True}),
    "query_key_value": Case(
        ResidualScaledDotProductAttention, {}, (STATES, KEYS, VALUES), {"mask": MASK, "as_list": True}
    ),
    "query_key_value_and_previous_of_every_option": Case(
        ResidualScaledDotProductAttention,
        EVERY_OPTION,
        (STATES, KEYS, VALUES, PREVIOUS),
        {"mask": MASK, "as_list": True, "sees": EARLIER},
    ),
}


class AsPublished(keras.layers.Layer):
    """The mask handling of keras-self-attention 0.51."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        assert len(inputs) == 2
        return mask[0]

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        mask = mask[0]
        return [mask, mask[-1]]


@pytest.mark.parametrize("case", CASES)
def test_layer_passes_the_harness(case: str, tmp_path: Path) -> None:
    check_case(CASES[case], tmp_path)


# --- numbers by hand, and the equation ---


def test_residual_scaled_dot_product_by_hand() -> None:
    states = np.array([[[0], [2], [9]]], "float32")  # one feature, so the scale is 1
    previous = np.array([[[0, LN3, 7], [7, 7 - 4, 7], [7, 7, 7]]], "float32")
    masks = [np.array([[1, 1, 0]], bool), None]
    context, weights, scores = ResidualScaledDotProductAttention()(
        [states, previous], mask=masks, return_attention_scores=True
    )
    np.testing.assert_allclose(to_numpy(scores), [[[0, LN3, 0], [7, 4 + 3, 0], [0, 0, 0]]], atol=1e-6)
    np.testing.assert_allclose(to_numpy(weights), [[[0.25, 0.75, 0], [0.5, 0.5, 0], [0, 0, 0]]], atol=1e-6)
    np.testing.assert_allclose(to_numpy(context), [[[1.5], [1], [0]]], atol=1e-6)


@pytest.mark.parametrize("history_only", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_residual_scaled_dot_product_is_its_equation(history_only: bool, first: bool) -> None:
    layer = ResidualScaledDotProductAttention(history_only=history_only)
    inputs, masks = [STATES, SIX_KEYS, SIX_VALUES], [MASK, SIX_MASK, SIX_MASK]
    if not first:
        inputs, masks = [*inputs, SIX_PREVIOUS], [*masks, None]
    context, weights, scores = layer(inputs, mask=masks, return_attention_scores=True)
    for row in range(4):
        raw, sees = np.zeros((5, 6)), np.zeros((5, 6), bool)
        for t in range(5):
            for s in range(6):
                if MASK[row, t] and SIX_MASK[row, s]:
                    raw[t, s] = STATES[row, t].astype("float64") @ SIX_KEYS[row, s] / np.sqrt(3)
                    raw[t, s] += 0 if first else SIX_PREVIOUS[row, t, s]
                    sees[t, s] = s <= t or not history_only
        expected = reference.real_softmax(raw, sees)
        np.testing.assert_allclose(to_numpy(scores)[row], raw, atol=1e-6)
        np.testing.assert_allclose(to_numpy(weights)[row], expected, atol=1e-6)
        np.testing.assert_allclose(to_numpy(context)[row], expected @ SIX_VALUES[row], atol=1e-6)


def test_without_previous_scores_it_is_scaled_dot_product_attention() -> None:
    expected = ScaledDotProductAttention()(STATES, mask=MASK, return_attention_scores=True)
    zeros = np.zeros_like(PREVIOUS)
    for inputs in (STATES, [STATES], [STATES] * 3, [STATES, zeros], [STATES, STATES, STATES, zeros]):
        received = ResidualScaledDotProductAttention()(inputs, mask=MASK, return_attention_scores=True)
        for one, other in zip(received, expected, strict=False):
            np.testing.assert_array_equal(to_numpy(one), to_numpy(other))


def test_blocks_accumulate_scores() -> None:
    layer = ResidualScaledDotProductAttention()
    found, first = layer(STATES, mask=MASK)
    _, second = layer([found, first], mask=[MASK, None])
    _, alone = layer(found, mask=MASK)
    np.testing.assert_allclose(to_numpy(second), to_numpy(first) + to_numpy(alone), atol=1e-6)


def test_history_hides_keys_from_the_map_and_not_from_the_scores() -> None:
    _, open_scores = ResidualScaledDotProductAttention()([STATES, PREVIOUS])
    _, weights, scores = ResidualScaledDotProductAttention(history_only=True)(
        [STATES, PREVIOUS], return_attention_scores=True
    )
    np.testing.assert_array_equal(to_numpy(scores), to_numpy(open_scores))
    assert (to_numpy(weights)[:, ~EARLIER] == 0).all()


def test_invalid_inputs_are_clear_errors() -> None:
    with pytest.raises(ValueError, match=r"Expected x, \[x, previous\], .* Received a list of 5"):
        ResidualScaledDotProductAttention()([STATES] * 5)


# --- compatibility with keras-self-attention ---


def test_outputs_are_in_upstream_order_unless_the_call_requests_scores() -> None:
    plain = ResidualScaledDotProductAttention()([STATES, PREVIOUS], mask=[MASK, None])
    layer = ResidualScaledDotProductAttention(return_attention=True)
    upstream = layer([STATES, PREVIOUS], mask=[MASK, None])
    ours = layer([STATES, PREVIOUS], mask=[MASK, None], return_attention_scores=True)
    assert [type(plain), type(upstream), type(ours)] == [list, list, tuple]
    for one, other in zip((*plain, upstream[2]), (ours[0], ours[2], ours[1]), strict=True):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(other))
    for one, other in zip(upstream, (ours[0], ours[2], ours[1]), strict=True):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(other))


def test_a_model_of_two_blocks_loads_with_its_custom_objects(tmp_path: Path) -> None:
    ids = keras.Input((None,), dtype="int32")
    embedded = keras.layers.Embedding(9, 3, mask_zero=True)(ids)
    found, scores = ResidualScaledDotProductAttention()(embedded)
    found, scores, weights = ResidualScaledDotProductAttention(return_attention=True)([found, scores])
    model = keras.Model(ids, [found, scores, weights])
    model.save(tmp_path / "model.keras")
    custom_objects = ResidualScaledDotProductAttention.get_custom_objects()
    again = keras.models.load_model(tmp_path / "model.keras", custom_objects=custom_objects, safe_mode=True)
    texts = np.array([[1, 2, 0], [0, 3, 4]])
    assert ((to_numpy(again(texts)[2]) > 0) == (texts > 0)[:, :, None] & (texts > 0)[:, None, :]).all()
    for one, other in zip(again(texts), model(texts), strict=True):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(other))


# --- faults of the layer of keras-self-attention ---


def test_upstream_fails_without_a_mask_and_ours_does_not() -> None:
    with pytest.raises(TypeError, match="'NoneType' object is not subscriptable"):
        AsPublished().call([STATES, PREVIOUS])
    assert ResidualScaledDotProductAttention()([STATES, PREVIOUS])[0].shape == STATES.shape


def test_upstream_masks_scores_by_the_last_text_and_ours_leaves_them_unmasked() -> None:
    of_context, of_scores = AsPublished().compute_mask([STATES, PREVIOUS], [MASK, None])
    assert of_context.shape == (4, 5)
    assert of_scores.tolist() == MASK[-1].tolist()  # the mask of the last text only
    for arguments, masks in (({}, [None]), (EVERY_OPTION, [None, None])):
        of_context, *others = ResidualScaledDotProductAttention(**arguments).compute_mask(
            [STATES, PREVIOUS], [MASK, None]
        )
        assert of_context is MASK
        assert others == masks


@pytest.mark.parametrize("arguments", [{}, EVERY_OPTION], ids=["default", "every_option"])
def test_upstream_does_not_infer_shapes_and_ours_does(arguments: dict[str, Any]) -> None:
    shapes = [(None, None, 3), (None, 6, 3), (None, 6, 2), (None, None, 6)]
    outputs = ResidualScaledDotProductAttention(**arguments)([keras.KerasTensor(shape) for shape in shapes])
    expected = [(None, None, 2), (None, None, 6), (None, None, 6)]
    assert [output.shape for output in outputs] == expected[: len(outputs)]
    assert len(outputs) == 2 + bool(arguments)


def test_upstream_has_no_custom_objects_and_ours_has() -> None:
    assert not hasattr(AsPublished, "get_custom_objects")
    assert ResidualScaledDotProductAttention.get_custom_objects() == {
        "ResidualScaledDotProductAttention": ResidualScaledDotProductAttention
    }
    layer = ResidualScaledDotProductAttention()
    layer(STATES)
    assert not [name for name, value in vars(layer).items() if keras.ops.is_tensor(value)]
