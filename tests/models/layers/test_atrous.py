from pathlib import Path

import keras
import numpy as np
import pytest

from models.layers import AtrousSelfAttention, MultiHeadSelfAttention
from tests.layer_checks import Case, check_case, to_numpy
from tests.models import numpy_reference as reference
from tests.models.heads_reference import check_equation, check_padding, float64

GENERATOR = np.random.default_rng(7)
STATES = GENERATOR.normal(size=(4, 7, 3)).astype("float32")
MASK = np.array([[1] * 7, [1, 1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1, 0], [0] * 7], "bool")
OFFSETS = np.subtract.outer(np.arange(7), np.arange(7))  # query - key

CASES = {
    "atrous": Case(
        AtrousSelfAttention,
        {"heads": 2, "size_per_head": 4, "rate": 2},
        (STATES,),
        {"mask": MASK, "sees": OFFSETS % 2 == 0},
    ),
    "atrous_of_every_option": Case(
        AtrousSelfAttention,
        {
            "heads": 2,
            "size_per_head": 2,
            "key_size": 3,
            "rate": 3,
            "causal": True,
            "kernel_initializer": "he_normal",
            "kernel_regularizer": keras.regularizers.L2(0.1),
            "kernel_constraint": keras.constraints.MaxNorm(3),
        },
        (STATES,),
        {"mask": MASK, "sees": (OFFSETS % 3 == 0) & (OFFSETS >= 0), "call_arguments": {"return_values": True}},
    ),
    "atrous_of_rate_one": Case(AtrousSelfAttention, {"heads": 1, "size_per_head": 2}, (STATES,), {"mask": MASK}),
}


@pytest.mark.parametrize("case", CASES)
def test_layer_passes_the_harness(case: str, tmp_path: Path) -> None:
    check_case(CASES[case], tmp_path)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("rate", [1, 2, 3, 7, 9])
def test_atrous_is_its_equation(rate: int, causal: bool) -> None:
    sees = (OFFSETS % rate == 0) & ((OFFSETS >= 0) | (not causal))
    check_equation(AtrousSelfAttention(2, 3, key_size=2, rate=rate, causal=causal), STATES, MASK, sees)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("rate", [2, 3])
def test_the_side_of_the_padding_does_not_matter(rate: int, causal: bool) -> None:
    check_padding(AtrousSelfAttention(2, 4, rate=rate, causal=causal), STATES[:1])


def test_a_rate_of_one_is_multi_head_self_attention() -> None:
    layer, whole = AtrousSelfAttention(2, 3), MultiHeadSelfAttention(2, 3)
    expected = whole(STATES, mask=MASK, return_attention_scores=True)
    layer.build(STATES.shape)
    layer.set_weights(whole.get_weights())
    for received, each in zip(layer(STATES, mask=MASK, return_attention_scores=True), expected, strict=True):
        np.testing.assert_array_equal(to_numpy(received), to_numpy(each))


def test_a_text_of_60_000_tokens_does_not_build_the_full_map() -> None:
    """The full map would take 14 GB; each of the 1,000 remainders has 60 x 60 weights."""
    layer = AtrousSelfAttention(1, 2, rate=1000)
    states = np.resize(STATES, (1, 60_000, 3))
    output = to_numpy(layer(states))
    dense = MultiHeadSelfAttention(1, 2)
    dense.build(states.shape)
    dense.set_weights(layer.get_weights())
    np.testing.assert_allclose(output[:, 7::1000], to_numpy(dense(states[:, 7::1000])), atol=1e-6)


def test_an_invalid_rate_is_a_clear_error() -> None:
    with pytest.raises(ValueError, match=r"Expected a rate of at least 1\. Received rate=0"):
        AtrousSelfAttention(1, 1, rate=0)


# --- faults of the sources ---


def test_published_stride_padding_takes_weight_and_ours_does_not() -> None:
    layer = AtrousSelfAttention(1, 3, rate=3)
    _, maps = float64(*layer(STATES, return_attention_scores=True))  # 7 tokens are padded to 9
    query_kernel, key_kernel, _ = float64(*layer.get_weights())
    filled = np.concatenate([STATES[0], np.zeros((2, 3))])[1::3]  # tokens 1 and 4, and one of padding
    published = reference.softmax((filled @ query_kernel) @ (filled @ key_kernel).T / np.sqrt(3))
    assert published[0, 2] > 0.1
    np.testing.assert_allclose(maps[:, :, 1].sum(axis=-1), 1, atol=1e-6)
    np.testing.assert_allclose(maps[0, 0, 1, [1, 4]], published[0, :2] / published[0, :2].sum(), atol=1e-6)
