from pathlib import Path

import keras
import numpy as np
import pytest

from models.layers import LocalSelfAttention, MultiHeadSelfAttention
from tests.layer_checks import Case, check_case, to_numpy
from tests.models import numpy_reference as reference
from tests.models.heads_reference import check_equation, check_padding, float64

GENERATOR = np.random.default_rng(7)
STATES = GENERATOR.normal(size=(4, 7, 3)).astype("float32")
MASK = np.array([[1] * 7, [1, 1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1, 0], [0] * 7], "bool")
OFFSETS = np.subtract.outer(np.arange(7), np.arange(7))  # query - key


def seen(neighbors: int, rate: int, causal: bool) -> np.ndarray:
    return (np.abs(OFFSETS) <= neighbors * rate) & (OFFSETS % rate == 0) & ((OFFSETS >= 0) | (not causal))


CASES = {
    "local": Case(
        LocalSelfAttention, {"heads": 2, "size_per_head": 4}, (STATES,), {"mask": MASK, "sees": seen(1, 1, False)}
    ),
    "local_of_every_option": Case(
        LocalSelfAttention,
        {
            "heads": 2,
            "size_per_head": 2,
            "key_size": 3,
            "neighbors": 2,
            "rate": 2,
            "causal": True,
            "kernel_initializer": "he_normal",
            "kernel_regularizer": keras.regularizers.L2(0.1),
            "kernel_constraint": keras.constraints.MaxNorm(3),
        },
        (STATES,),
        {"mask": MASK, "sees": seen(2, 2, True), "call_arguments": {"return_values": True}},
    ),
    "local_with_its_band": Case(
        LocalSelfAttention,
        {"heads": 1, "size_per_head": 2, "neighbors": 2},
        (STATES,),
        {"mask": MASK, "sees": seen(2, 1, False), "call_arguments": {"return_band": True}},
    ),
    "local_wider_than_the_text": Case(
        LocalSelfAttention, {"heads": 2, "size_per_head": 2, "neighbors": 9}, (STATES,), {"mask": MASK}
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_layer_passes_the_harness(case: str, tmp_path: Path) -> None:
    check_case(CASES[case], tmp_path)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("neighbors", "rate"), [(1, 1), (2, 1), (9, 1), (1, 2), (2, 3), (1, 9)])
def test_local_is_its_equation(neighbors: int, rate: int, causal: bool) -> None:
    layer = LocalSelfAttention(2, 3, key_size=2, neighbors=neighbors, rate=rate, causal=causal)
    check_equation(layer, STATES, MASK, seen(neighbors, rate, causal))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("rate", [1, 2, 3])
def test_the_side_of_the_padding_does_not_matter(rate: int, causal: bool) -> None:
    check_padding(LocalSelfAttention(2, 4, neighbors=2, rate=rate, causal=causal), STATES[:1])


@pytest.mark.parametrize("causal", [False, True])
def test_the_band_equals_the_map_within_the_window(causal: bool) -> None:
    layer = LocalSelfAttention(2, 3, neighbors=2, causal=causal)
    _, maps, band, values = float64(
        *layer(STATES, mask=MASK, return_attention_scores=True, return_band=True, return_values=True)
    )
    assert band.shape == (4, 2, 7, 3 if causal else 5)
    assert values.shape == (4, 7, 6)
    for query in range(7):
        for column, key in enumerate(range(query - 2, query - 2 + band.shape[-1])):
            expected = maps[:, :, query, key] if 0 <= key < 7 else 0
            np.testing.assert_array_equal(band[:, :, query, column], np.broadcast_to(expected, (4, 2)))


def test_a_window_over_everything_is_multi_head_self_attention() -> None:
    layer, whole = LocalSelfAttention(2, 3, neighbors=6), MultiHeadSelfAttention(2, 3)
    expected = whole(STATES, mask=MASK, return_attention_scores=True)
    layer.build(STATES.shape)
    layer.set_weights(whole.get_weights())
    for received, each in zip(layer(STATES, mask=MASK, return_attention_scores=True), expected, strict=True):
        np.testing.assert_allclose(to_numpy(received), to_numpy(each), atol=1e-6)


@pytest.mark.parametrize("rate", [1, 3])
def test_a_text_of_200_000_tokens_does_not_build_the_full_map(rate: int) -> None:
    """The full map would take 160 GB."""
    layer = LocalSelfAttention(1, 2, neighbors=2, rate=rate)
    states = np.resize(STATES, (1, 200_000, 3))
    output = to_numpy(layer(states))
    np.testing.assert_allclose(
        output[:, 150_006:150_014], to_numpy(layer(states[:, 150_000:150_020]))[:, 6:14], atol=1e-6
    )


def test_a_band_with_a_rate_is_a_clear_error() -> None:
    with pytest.raises(ValueError, match=r"Expected rate=1 for return_band=True\. Received rate=2"):
        LocalSelfAttention(1, 1, rate=2)(STATES, return_band=True)


# --- faults of the sources ---


def test_published_neighbours_beyond_the_text_take_weight_and_ours_do_not() -> None:
    layer = LocalSelfAttention(1, 3)
    _, maps, band = float64(*layer(STATES, return_attention_scores=True, return_band=True))
    query_kernel, key_kernel, _ = float64(*layer.get_weights())
    window = np.concatenate([np.zeros((1, 3)), STATES[0, :2]])  # zeros before the first token
    published = reference.softmax((STATES[0, 0] @ query_kernel) @ (window @ key_kernel).T / np.sqrt(3))
    assert published[0] > 0.1
    assert (band[:, :, 0, 0] == 0).all()
    assert (band[:, :, -1, -1] == 0).all()
    np.testing.assert_allclose(maps[0, 0, 0, :2], published[1:] / published[1:].sum(), atol=1e-6)
    np.testing.assert_allclose(maps.sum(axis=-1), 1, atol=1e-6)


def test_a_causal_window_loses_only_later_neighbours() -> None:
    _, maps = float64(*LocalSelfAttention(1, 3, neighbors=2, causal=True)(STATES, return_attention_scores=True))
    np.testing.assert_array_equal(maps[0, 0] > 0, (OFFSETS >= 0) & (OFFSETS <= 2))
