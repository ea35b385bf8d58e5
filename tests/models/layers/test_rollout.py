from pathlib import Path

import numpy as np
import pytest

from models.layers import (
    AttentionRollout,
    MaskedPooling,
    ScaledDotProductSelfAttention,
    SeqSelfAttention,
    TokenWeights,
    TransformerBlock,
)
from tests.layer_checks import Case, check_case, to_numpy

GENERATOR = np.random.default_rng(7)
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]], "bool")


def a_map(*heads: int) -> np.ndarray:
    """Random maps float32[4, (heads,) query, key]: rows sum to 1 over real tokens, padding is 0."""
    mask = MASK[:, None] if heads else MASK
    weights = GENERATOR.uniform(0.1, 1, size=(4, *heads, 5, 5)) * mask[..., None] * mask[..., None, :]
    return (weights / np.maximum(weights.sum(axis=-1, keepdims=True), 1e-9)).astype("float32")


MAPS = (a_map(), a_map(), a_map())
CASES = {
    "rollout": Case(AttentionRollout, {}, MAPS, {"mask": MASK, "as_list": True}),
    "rollout_of_one_map": Case(AttentionRollout, {}, MAPS[:1], {"mask": MASK, "as_list": True}),
    "rollout_without_residual": Case(AttentionRollout, {"residual": False}, MAPS, {"mask": MASK, "as_list": True}),
}


@pytest.mark.parametrize("case", CASES)
def test_layer_passes_the_harness(case: str, tmp_path: Path) -> None:
    check_case(CASES[case], tmp_path)


def test_rollout_by_hand() -> None:
    """Half of each token stays; the heads of the first map look in different directions."""
    first = np.array([[[[1, 0], [1, 0]], [[0, 1], [1, 0]]]], "float32")  # on average [[1/2, 1/2], [1, 0]]
    second = np.array([[[0, 1], [1, 0]]], "float32")
    expected = np.array([[1 / 2, 1 / 2], [1 / 2, 1 / 2]]) @ np.array([[3 / 4, 1 / 4], [1 / 2, 1 / 2]])
    np.testing.assert_allclose(to_numpy(AttentionRollout()([first, second]))[0], expected, atol=1e-6)
    expected = np.array([[0, 1], [1, 0]]) @ np.array([[1 / 2, 1 / 2], [1, 0]])
    np.testing.assert_allclose(to_numpy(AttentionRollout(residual=False)([first, second]))[0], expected, atol=1e-6)


@pytest.mark.parametrize("residual", [True, False])
def test_rollout_is_its_equation(residual: bool) -> None:
    """Add the identity, divide each row by its sum, and multiply from the first block on."""
    maps = [a_map(3), a_map(2), a_map()]
    rollout = to_numpy(AttentionRollout(residual)(maps, mask=MASK))
    for row, mask in enumerate(MASK):
        expected = None
        for scores in maps:
            step = scores[row].astype("float64")
            step = step.mean(axis=0) if step.ndim == 3 else step
            if residual:
                step = step + np.diag(mask)
                step = step / np.maximum(step.sum(axis=1, keepdims=True), 1e-9)
            expected = step if expected is None else step @ expected
        np.testing.assert_allclose(rollout[row], expected, atol=1e-6)


def test_one_mask_equals_one_per_map() -> None:
    layer = AttentionRollout()
    expected = to_numpy(layer(list(MAPS), mask=MASK))
    for masks in ([MASK] * 3, [None, MASK, None]):
        np.testing.assert_array_equal(to_numpy(layer(list(MAPS), mask=masks)), expected)


def test_the_product_of_maps_is_exact_for_raw_values() -> None:
    """Two stacked self-attentions equal one whose map is the product of theirs."""
    states = GENERATOR.normal(size=(4, 5, 3)).astype("float32")
    first, second = ScaledDotProductSelfAttention(), SeqSelfAttention(2)
    between, map_1 = first(states, mask=MASK, return_attention_scores=True)
    output, map_2 = second(between, mask=MASK, return_attention_scores=True)
    pooled, coefficients = MaskedPooling()(output, mask=MASK, return_attention_scores=True)
    weights = TokenWeights()(AttentionRollout(residual=False)([map_1, map_2], mask=MASK), coefficients)
    np.testing.assert_allclose(np.einsum("bt,btf->bf", to_numpy(weights), states), to_numpy(pooled), atol=1e-5)
    np.testing.assert_allclose(to_numpy(weights).sum(axis=1), MASK.any(axis=1), atol=1e-6)


def test_token_weights_of_stacked_blocks_sum_to_one_on_either_side_of_padding() -> None:
    states, junk = GENERATOR.normal(size=(1, 3, 4)).astype("float32"), np.full((1, 2, 4), 7, "float32")
    blocks = [TransformerBlock(2), TransformerBlock(2, window=2)]

    def token_weights(left: int, right: int) -> np.ndarray:
        tokens = np.concatenate([junk[:, :left], states, junk[:, :right]], axis=1)
        mask, maps = np.array([[False] * left + [True] * 3 + [False] * right]), []
        for block in blocks:
            tokens, scores = block(tokens, mask=mask, return_attention_scores=True)
            maps.append(scores)
        _, coefficients = MaskedPooling()(tokens, mask=mask, return_attention_scores=True)
        return to_numpy(TokenWeights()(AttentionRollout()(maps, mask=mask), coefficients))[0]

    alone = token_weights(0, 0)
    assert alone.sum() == pytest.approx(1, abs=1e-6)
    for left, right in ((0, 2), (2, 0), (1, 1)):
        weights = token_weights(left, right)
        np.testing.assert_allclose(weights[left : left + 3], alone, atol=1e-6)
        np.testing.assert_array_equal(np.delete(weights, slice(left, left + 3)), 0)
