"""Every source name maps to a layer that computes the same."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from models import layers
from models.layers import SOURCE_NAMES, MaskedPooling
from tests.golden.golden_file import GoldenSet, read
from tests.golden.parity import HERE, assert_near, loaded

STATES = np.random.default_rng(0).normal(size=(2, 7, 32)).astype("float32")

# name: (golden file, set made with the defaults of the source, further arguments of that set)
GOLDEN = {
    "MyAttention": ("write_up", "MyAttention, length=None, key_size=8", {}),
    "attention_2": ("torch", "attention_2", {"units": 4}),
    "keras_self_attention.SeqSelfAttention": (
        "keras_self_attention",
        "SeqSelfAttention, attention_type=additive, attention_activation=None, attention_width=None, "
        "history_only=False, use_additive_bias=True, use_attention_bias=True, unpadded",
        {"units": 5},
    ),
    "keras_self_attention.SeqWeightedAttention": (
        "keras_self_attention",
        "SeqWeightedAttention, use_bias=True, unpadded",
        {},
    ),
    "keras_self_attention.ScaledDotProductAttention": (
        "keras_self_attention",
        "ScaledDotProductAttention of one tensor, history_only=False, unpadded",
        {},
    ),
    "keras_multi_head.MultiHead": (
        "keras_multi_head",
        "MultiHead of 3 SeqSelfAttention, hidden_dim=None",
        {"heads": 3, "layer": layers.SeqSelfAttention(units=5)},
    ),
    "keras_multi_head.MultiHeadAttention": (
        "keras_multi_head",
        "MultiHeadAttention of one tensor, head_num=2, activation=relu, use_bias=True, history_only=False, unpadded",
        {"head_num": 2},
    ),
}


def made(name: str, **further: Any) -> keras.layers.Layer:
    return SOURCE_NAMES[name].layer(**{**SOURCE_NAMES[name].arguments, **further})


def golden_set(file: str, name: str) -> GoldenSet:
    [found] = [each for each in read(HERE / f"{file}.npz").sets if each.name == name]
    return found


@pytest.mark.parametrize("name", SOURCE_NAMES)
def test_each_name_has_a_layer_that_runs(name: str) -> None:
    entry = SOURCE_NAMES[name]
    assert getattr(layers, entry.layer.__name__) is entry.layer
    assert entry.source
    assert entry.difference
    output = made(name)(STATES)
    assert np.isfinite(ops.convert_to_numpy(keras.tree.flatten(output)[0])).all()


@pytest.mark.parametrize("name", GOLDEN)
def test_the_arguments_reproduce_the_source(name: str) -> None:
    file, set_name, further = GOLDEN[name]
    golden = golden_set(file, set_name)
    layer = loaded(made(name, **further), golden)
    assert_near(layer(golden.inputs[0]), golden.outputs["output"])


def test_attention_1_is_a_sum() -> None:
    golden = golden_set("torch", "attention_1")
    assert_near(MaskedPooling("sum")(made("attention_1")(golden.inputs[0])), golden.outputs["output"])


def test_attention_of_keras_on_one_tensor() -> None:
    expected = keras.layers.Attention()([STATES, STATES])
    assert_near(made("keras.layers.Attention")(STATES), ops.convert_to_numpy(expected))


def test_additive_attention_of_keras_on_one_tensor() -> None:
    layer = made("keras.layers.AdditiveAttention", units=32)
    layer.build(STATES.shape)
    scale = np.linspace(-1, 1, 32)
    layer.set_weights([np.eye(32), np.eye(32), scale[:, None]])
    expected = keras.layers.AdditiveAttention()
    expected.build([STATES.shape, STATES.shape])
    expected.set_weights([scale])
    assert_near(layer(STATES), ops.convert_to_numpy(expected([STATES, STATES])))


def test_multi_head_attention_of_keras_on_one_tensor() -> None:
    expected = keras.layers.MultiHeadAttention(num_heads=8, key_dim=4)
    output = expected(STATES, STATES)
    layer = made("keras.layers.MultiHeadAttention")
    layer.build(STATES.shape)
    pairs = zip(expected.get_weights(), layer.weights, strict=True)
    layer.set_weights([weight.reshape(own.shape) for weight, own in pairs])
    assert_near(layer(STATES), ops.convert_to_numpy(output))
