from pathlib import Path

import numpy as np
import pytest

from models.layers import JoinNgrams
from tests.layer_checks import Case, check_case, to_numpy

GENERATOR = np.random.default_rng(5)


def drawn(*shape: int) -> np.ndarray:
    return GENERATOR.normal(size=shape).astype("float32")


INPUTS = (drawn(3, 4), drawn(3, 5), drawn(3, 5, 4), drawn(3, 5), drawn(3, 2), drawn(3, 5), drawn(3, 5, 2))
CASES = {"join": Case(JoinNgrams, {"share": 0.25}, INPUTS, {"float32_outputs": True, "rows_sum_to_one": False})}


def test_join_ngrams_passes_the_harness(tmp_path: Path) -> None:
    check_case(CASES["join"], tmp_path)


def test_both_stand_side_by_side() -> None:
    pooled, weights, values, coefficients, ngram_pooled, ngram_weights, ngram_values = INPUTS
    outputs = [to_numpy(output) for output in JoinNgrams(0.25)(*INPUTS)]
    np.testing.assert_allclose(outputs[0], np.concatenate([pooled, ngram_pooled], axis=-1))
    np.testing.assert_allclose(outputs[1], 0.75 * weights + 0.25 * ngram_weights, atol=1e-6)
    np.testing.assert_allclose(outputs[2][..., :4], coefficients[..., None] * values, atol=1e-6)
    np.testing.assert_allclose(outputs[2][..., 4:], ngram_values)
    assert (outputs[3] == 1).all()


def test_a_share_is_from_0_to_1() -> None:
    with pytest.raises(ValueError, match=r"from 0 to 1\. Received share=1.5"):
        JoinNgrams(1.5)
