from pathlib import Path

import numpy as np
import pytest

from models.layers import AttentionRollout
from tests.layer_checks import Case, check_case

GENERATOR = np.random.default_rng(7)
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]], "bool")


def a_map(*heads: int) -> np.ndarray:
    """float32[4, heads, query, key] as a layer gives it: rows sum to 1 over the real tokens, padding is 0."""
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
