from pathlib import Path

import keras
import numpy as np
import pytest

from models.layers import TransformerBlock
from tests.layer_checks import Case, check_case

STATES = np.random.default_rng(7).normal(size=(4, 5, 4)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]], "bool")
DISTANCES = np.subtract.outer(np.arange(5), np.arange(5))  # [query, key]
KEY_BIAS = frozenset({"key/bias"})

CASES = {
    "transformer": Case(TransformerBlock, {"num_heads": 2}, (STATES,), {"mask": MASK, "without_gradient": KEY_BIAS}),
    "transformer_of_every_option": Case(
        TransformerBlock,
        {
            "num_heads": 3,
            "key_dim": 2,
            "ff_dim": 5,
            "activation": "relu",
            "dropout": 0.5,
            "attention_dropout": 0.5,
            "norm": "pre",
            "epsilon": 1e-3,
            "use_bias": False,
            "kernel_initializer": keras.initializers.RandomNormal(stddev=0.1),
            "kernel_regularizer": keras.regularizers.L2(0.1),
            "causal": True,
        },
        (STATES,),
        {"mask": MASK, "sees": DISTANCES >= 0},
    ),
    "transformer_within_a_window": Case(
        TransformerBlock,
        {"num_heads": 2, "norm": "pre", "window": 2},
        (STATES,),
        {"mask": MASK, "without_gradient": KEY_BIAS, "sees": abs(DISTANCES) < 2},
    ),
    "transformer_within_a_causal_window": Case(
        TransformerBlock,
        {"num_heads": 1, "causal": True, "window": 3},
        (STATES,),
        {"mask": MASK, "without_gradient": KEY_BIAS, "sees": (DISTANCES >= 0) & (DISTANCES < 3)},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_layer_passes_the_harness(case: str, tmp_path: Path) -> None:
    check_case(CASES[case], tmp_path)
