from pathlib import Path

import keras
import numpy as np
import pytest

from models.layers import TokenWeights
from models.windows import Window, band_to_map
from tests.layer_checks import Case, check_case, to_numpy

GENERATOR = np.random.default_rng(5)
SHARES = GENERATOR.dirichlet(np.ones(5), size=4).astype("float32")
MAPS = GENERATOR.dirichlet(np.ones(5), size=(4, 3, 5)).astype("float32")
WINDOW = Window(1, 2)
BANDS = GENERATOR.normal(size=(4, 3, 5, WINDOW.width)).astype("float32")

CASES = {
    "a_map": Case(TokenWeights, {}, (MAPS[:, 0], SHARES)),
    "a_map_a_head": Case(TokenWeights, {}, (MAPS, SHARES)),
    "the_mean_of_heads": Case(TokenWeights, {"head_mean": True}, (MAPS, SHARES)),
    "a_band": Case(TokenWeights, {"window": WINDOW}, (BANDS[:, 0], SHARES)),
    "the_mean_of_bands": Case(TokenWeights, {"window": (1, 2), "head_mean": True}, (BANDS, SHARES)),
}


@pytest.mark.parametrize("case", CASES)
def test_token_weights_passes_the_harness(case: str, tmp_path: Path) -> None:
    check_case(CASES[case], tmp_path)


def test_token_weights_of_heads_is_its_equation() -> None:
    weights = to_numpy(TokenWeights()(MAPS, SHARES))
    for row, head in np.ndindex(4, 3):
        np.testing.assert_allclose(weights[row, head], SHARES[row] @ MAPS[row, head], atol=1e-6)
    mean = to_numpy(TokenWeights(head_mean=True)(MAPS, SHARES))
    np.testing.assert_allclose(mean, weights.mean(axis=1), atol=1e-6)


def test_token_weights_of_a_band_equal_those_of_its_map() -> None:
    ours = TokenWeights(WINDOW)(BANDS, SHARES)
    full = TokenWeights()(band_to_map(keras.ops.convert_to_tensor(BANDS), WINDOW), SHARES)
    np.testing.assert_allclose(to_numpy(ours), to_numpy(full), atol=1e-6)
