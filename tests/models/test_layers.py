import importlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models.layers import (
    CUSTOM_OBJECTS,
    LinearHead,
    MaskedConvolution,
    MaskedPooling,
    PaddingMask,
    TokenWeights,
)
from tests.layer_checks import Case, check_case

GENERATOR = np.random.default_rng(7)
STATES = GENERATOR.normal(size=(4, 5, 3)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]], "bool")
MAP = GENERATOR.dirichlet(np.ones(5), size=(4, 5)).astype("float32")
SHARES = GENERATOR.dirichlet(np.ones(5), size=4).astype("float32")
IDS = np.array([[2, 3, 0], [0, 0, 0]], "int32")

CASES: dict[str, Case] = {
    "head_of_two": Case(LinearHead, {"labels": 2}, (STATES[:, 0], STATES, SHARES), {"float32_outputs": True}),
    "head_of_three": Case(
        LinearHead,
        {"labels": 3, "dropout": 0.5},
        (STATES[:, 0], STATES, SHARES),
        {"float32_outputs": True},
    ),
    "convolution": Case(MaskedConvolution, {"filters": 4, "kernel_size": 3}, (STATES,), {"mask": MASK}),
    "convolution_wider_than_the_text": Case(
        MaskedConvolution,
        {"filters": 2, "kernel_size": 7, "activation": "tanh"},
        (STATES,),
        {"mask": MASK},
    ),
    "mean": Case(MaskedPooling, {}, (STATES,), {"mask": MASK}),
    "sum": Case(MaskedPooling, {"mode": "sum"}, (STATES,), {"mask": MASK, "rows_sum_to_one": False}),
    "padding_mask": Case(PaddingMask, {}, (IDS,), {}),
    "padding_mask_of_another_id": Case(PaddingMask, {"pad_id": 3}, (IDS,), {}),
    "token_weights": Case(TokenWeights, {}, (MAP, SHARES), {}),
}


@pytest.mark.parametrize("case", CASES)
def test_layer_passes_the_harness(case: str, tmp_path: Path) -> None:
    check_case(CASES[case], tmp_path)


def every_case() -> list[Case]:
    """The cases of this file, and of the files of single layers beside it."""
    files = sorted(Path(__file__).with_name("layers").glob("test_*.py"))
    modules = [importlib.import_module(f"tests.models.layers.{file.stem}") for file in files]
    return [*CASES.values(), *(case for module in modules for case in getattr(module, "CASES", {}).values())]


def test_every_registered_layer_has_a_case() -> None:
    assert {case.layer_class for case in every_case()} == set(CUSTOM_OBJECTS.values())
    assert set(CUSTOM_OBJECTS) == {f"heed>{registered.__name__}" for registered in CUSTOM_OBJECTS.values()}


def test_every_registered_layer_is_exported() -> None:
    import models.layers

    assert set(models.layers.__all__) == {"CUSTOM_OBJECTS", "SOURCE_NAMES"} | {
        each.__name__ for each in CUSTOM_OBJECTS.values()
    }


@pytest.mark.parametrize(
    ("layer_class", "arguments"),
    [
        (LinearHead, {"labels": 1}),
        (LinearHead, {"labels": 2, "dropout": 1.5}),
        (MaskedConvolution, {"filters": 0}),
        (MaskedConvolution, {"filters": 2, "kernel_size": 4}),
        (MaskedConvolution, {"filters": 2, "kernel_size": -1}),
        (MaskedPooling, {"mode": "max"}),
    ],
)
def test_an_invalid_argument_says_what_was_expected(
    layer_class: type[keras.layers.Layer], arguments: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"Expected .*Received"):
        layer_class(**arguments)
