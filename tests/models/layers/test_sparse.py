from pathlib import Path

import keras
import numpy as np
import pytest

from models.layers import SparseSelfAttention
from tests.layer_checks import Case, check_case
from tests.models import numpy_reference as reference
from tests.models.heads_reference import check_equation, check_padding, float64, one_text

GENERATOR = np.random.default_rng(7)
STATES = GENERATOR.normal(size=(4, 11, 3)).astype("float32")
MASK = np.zeros((4, 11), bool)  # full, padded on the right, padded on both sides, and empty
MASK[0], MASK[1, :6], MASK[2, 4:9] = True, True, True
OFFSETS = np.subtract.outer(np.arange(11), np.arange(11))  # query - key


def seen(rate: int, causal: bool) -> np.ndarray:
    return ((np.abs(OFFSETS) < rate) | (OFFSETS % rate == 0)) & ((OFFSETS >= 0) | (not causal))


CASES = {
    "sparse": Case(
        SparseSelfAttention,
        {"heads": 2, "size_per_head": 4, "rate": 3},
        (STATES,),
        {"mask": MASK, "sees": seen(3, False)},
    ),
    "sparse_of_every_option": Case(
        SparseSelfAttention,
        {
            "heads": 2,
            "size_per_head": 2,
            "key_size": 3,
            "rate": 4,
            "causal": True,
            "kernel_initializer": "he_normal",
            "kernel_regularizer": keras.regularizers.L2(0.1),
            "kernel_constraint": keras.constraints.MaxNorm(3),
        },
        (STATES,),
        {"mask": MASK, "sees": seen(4, True), "call_arguments": {"return_values": True}},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_layer_passes_the_harness(case: str, tmp_path: Path) -> None:
    check_case(CASES[case], tmp_path)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("rate", [2, 3, 4, 11, 13])
def test_sparse_is_its_equation(rate: int, causal: bool) -> None:
    layer = SparseSelfAttention(2, 3, key_size=2, rate=rate, causal=causal)
    check_equation(layer, STATES, MASK, seen(rate, causal))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("rate", [2, 3])
def test_the_side_of_the_padding_does_not_matter(rate: int, causal: bool) -> None:
    check_padding(SparseSelfAttention(2, 4, rate=rate, causal=causal), STATES[:1])


def test_two_layers_connect_every_pair() -> None:
    assert (seen(3, False).astype(int) @ seen(3, False).astype(int) > 0).all()
    assert ((seen(3, True).astype(int) @ seen(3, True).astype(int) > 0) == (OFFSETS >= 0)).all()


def test_a_text_of_30_000_tokens_does_not_build_the_full_map() -> None:
    """The full map would take 3.6 GB; a query sees 199 near keys and 300 in steps of 100."""
    layer = SparseSelfAttention(1, 1, rate=100)
    states = np.resize(STATES, (1, 30_000, 3))
    output = float64(layer(states))[0]
    query = 21_234
    keys = [key for key in range(30_000) if abs(query - key) < 100 or (query - key) % 100 == 0]
    query_kernel, key_kernel, value_kernel = float64(*layer.get_weights())
    scores = (states[0, query] @ query_kernel) @ (states[0, keys] @ key_kernel).T
    expected = reference.softmax(scores) @ (states[0, keys] @ value_kernel)
    np.testing.assert_allclose(output[0, query], expected, atol=1e-5)


def test_a_rate_of_one_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"Expected a rate of at least 2 .*Received rate=1"):
        SparseSelfAttention(1, 1, rate=1)


# --- faults of the sources ---


def published(states: np.ndarray, rate: int, *kernels: np.ndarray) -> np.ndarray:
    """How often each query counts each key, [query, key]: near keys are also in steps of `rate`."""
    counts = (OFFSETS % rate == 0).astype(int)
    return counts + ((np.abs(OFFSETS) < rate * rate) & (OFFSETS % rate == 0))


def test_published_near_keys_are_multiples_of_the_rate_and_ours_are_neighbours() -> None:
    assert set(OFFSETS[published(STATES[0], 3) > 0]) == {-9, -6, -3, 0, 3, 6, 9}  # no neighbours
    _, maps = float64(*SparseSelfAttention(1, 3, rate=3)(STATES, return_attention_scores=True))
    assert set(OFFSETS[maps[0, 0] > 0]) == {-9, -6, -3, -2, -1, 0, 1, 2, 3, 6, 9}


def test_published_keys_of_both_parts_count_twice_and_ours_once() -> None:
    counts = published(STATES[0], 3)
    assert (counts[np.abs(OFFSETS) == 3] == 2).all()
    assert (np.diag(counts) == 2).all()
    layer = SparseSelfAttention(1, 3, rate=3)
    _, maps = float64(*layer(STATES, return_attention_scores=True))
    query_kernel, key_kernel, _ = float64(*layer.get_weights())
    scores = (STATES[0] @ query_kernel) @ (STATES[0] @ key_kernel).T / np.sqrt(3)
    ratio = maps[0, 0, 5, 5] / maps[0, 0, 5, 4]  # the query itself relative to a neighbour
    np.testing.assert_allclose(ratio, np.exp(scores[5, 5] - scores[5, 4]), rtol=1e-5)


def test_stride_padding_takes_no_weight() -> None:
    layer = SparseSelfAttention(2, 3, rate=4)  # 11 tokens are padded to 12
    output, maps = float64(*layer(STATES, return_attention_scores=True))
    expected, expected_maps, _ = one_text(STATES[0], STATES[0], seen(4, False), 2, *float64(*layer.get_weights()))
    np.testing.assert_allclose(maps[0], expected_maps, atol=1e-6)
    np.testing.assert_allclose(output[0], expected, atol=1e-6)
