from pathlib import Path

import keras
import numpy as np
import pytest

from models.layers import RemoveMask
from tests.layer_checks import Case, check_case, to_numpy

STATES = np.random.default_rng(2).normal(size=(4, 5, 3)).astype("float32")
CASES = {"states": Case(RemoveMask, {}, (STATES,))}


@pytest.mark.parametrize("case", CASES)
def test_remove_mask_passes_the_harness(case: str, tmp_path: Path) -> None:
    check_case(CASES[case], tmp_path)


def test_the_next_layer_gets_no_mask() -> None:
    ids = np.array([[1, 2, 0]], "int32")
    embedded = keras.layers.Embedding(3, 2, mask_zero=True)(ids)
    first, second = np.moveaxis(to_numpy(embedded)[0, :2], 0, 0)
    with_mask = keras.layers.GlobalAveragePooling1D()(embedded)
    np.testing.assert_allclose(to_numpy(with_mask)[0], (first + second) / 2, rtol=1e-5)
    without = keras.layers.GlobalAveragePooling1D()(RemoveMask()(embedded))
    np.testing.assert_allclose(to_numpy(without)[0], to_numpy(embedded)[0].mean(axis=0), rtol=1e-5)
