import importlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models import layers
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
    """Return the cases of this file and of the layers' own files."""
    files = sorted(Path(__file__).with_name("layers").glob("test_*.py"))
    modules = [importlib.import_module(f"tests.models.layers.{file.stem}") for file in files]
    return [*CASES.values(), *(case for module in modules for case in getattr(module, "CASES", {}).values())]


def test_every_registered_layer_has_a_case() -> None:
    assert {case.layer_class for case in every_case()} == set(CUSTOM_OBJECTS.values())
    assert set(CUSTOM_OBJECTS) == {f"heed>{registered.__name__}" for registered in CUSTOM_OBJECTS.values()}


def test_every_registered_layer_is_exported() -> None:
    assert set(layers.__all__) == {"CUSTOM_OBJECTS", "SOURCE_NAMES"} | {
        each.__name__ for each in CUSTOM_OBJECTS.values()
    }


INVALID_ARGUMENTS = [
    (layers.AdditiveAttentionPooling, {"units": 0}),
    (layers.AdditiveAttentionPooling, {"score": "cosine"}),
    (layers.AdditiveAttentionPooling, {"temperature": 0.0}),
    (layers.AdditiveAttentionPooling, {"temperature": -1.0}),
    (layers.ElementwiseSelfAttention, {"max_length": 0}),
    (layers.ElementwiseSelfAttention, {"scale": 0.0}),
    (layers.ElementwiseSelfAttention, {"scale": -1.0}),
    (layers.LinearHead, {"labels": 1}),
    (layers.LinearHead, {"labels": 2, "dropout": 1.5}),
    (layers.LocalSelfAttention, {"heads": 1, "size_per_head": 1, "neighbors": 0}),
    (layers.LocalSelfAttention, {"heads": 1, "size_per_head": 1, "rate": 0}),
    (layers.MaskedConvolution, {"filters": 0}),
    (layers.MaskedConvolution, {"filters": 2, "kernel_size": 4}),
    (layers.MaskedConvolution, {"filters": 2, "kernel_size": -1}),
    (layers.MaskedPooling, {"mode": "max"}),
    (layers.MultiHead, {"layer": "seq"}),
    (layers.MultiHead, {"layer": layers.SeqSelfAttention(), "heads": 0}),
    (layers.MultiHead, {"layer": layers.SeqSelfAttention(), "hidden_dim": 0}),
    (layers.MultiHead, {"layer": layers.SeqSelfAttention(), "reg_index": [0, 1], "reg_factor": [0.1]}),
    (layers.MultiHead, {"layer": layers.SeqSelfAttention(), "reg_index": 0, "reg_slice": [None, None]}),
    (layers.MultiHeadAttention, {"head_num": 0}),
    (layers.MultiHeadAttention, {"head_num": 1, "window": 0}),
    (layers.MultiHeadSelfAttention, {"heads": 0, "size_per_head": 1}),
    (layers.MultiHeadSelfAttention, {"heads": 1, "size_per_head": 0}),
    (layers.MultiHeadSelfAttention, {"heads": 1, "size_per_head": 1, "key_size": 0}),
    (layers.ScaledDotProductSelfAttention, {"scale": 0.0}),
    (layers.ScaledDotProductSelfAttention, {"scale": -1.0}),
    (layers.SeqSelfAttention, {"units": 0}),
    (layers.SeqSelfAttention, {"attention_type": "divisive"}),
    (layers.SeqSelfAttention, {"attention_width": 0}),
    (layers.SeqSelfAttention, {"attention_regularizer_weight": -0.1}),
    (layers.SeqSelfAttention, {"scale": 0.0}),
    (layers.SeqSelfAttention, {"mask_mode": "values"}),
    (layers.SinusoidalPositionEmbedding, {"merge": "sum"}),
    (layers.SinusoidalPositionEmbedding, {"layout": "thirds"}),
    (layers.SinusoidalPositionEmbedding, {"merge": "concat", "size": 3}),
    (layers.SinusoidalPositionEmbedding, {"size": 0}),
    (layers.TrainablePositionEmbedding, {"max_length": 0}),
    (layers.TrainablePositionEmbedding, {"max_length": 1, "merge": "mean"}),
    (layers.TrainablePositionEmbedding, {"max_length": 1, "size": -1}),
    (layers.TransformerBlock, {"num_heads": 0}),
    (layers.TransformerBlock, {"num_heads": 1, "key_dim": 0}),
    (layers.TransformerBlock, {"num_heads": 1, "ff_dim": 0}),
    (layers.TransformerBlock, {"num_heads": 1, "window": 0}),
    (layers.TransformerBlock, {"num_heads": 1, "dropout": 1.0}),
    (layers.TransformerBlock, {"num_heads": 1, "attention_dropout": -0.1}),
    (layers.TransformerBlock, {"num_heads": 1, "norm": "between"}),
]


@pytest.mark.parametrize(("layer_class", "arguments"), INVALID_ARGUMENTS)
def test_an_invalid_argument_is_a_clear_error(layer_class: type[keras.layers.Layer], arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"Expected .*Received"):
        layer_class(**arguments)
