from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models.layers import MaskedPooling, SinusoidalPositionEmbedding, TrainablePositionEmbedding
from tests.layer_checks import Case, check_case, to_numpy

GENERATOR = np.random.default_rng(7)
STATES = GENERATOR.normal(size=(4, 5, 4)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]], "bool")

CASES = {
    "sinusoidal": Case(SinusoidalPositionEmbedding, {}, (STATES,), {"mask": MASK}),
    "sinusoidal_beside_the_states": Case(
        SinusoidalPositionEmbedding, {"merge": "concat", "size": 2}, (STATES,), {"mask": MASK}
    ),
    "sinusoidal_interleaved": Case(SinusoidalPositionEmbedding, {"layout": "interleaved"}, (STATES,), {"mask": MASK}),
    "trainable": Case(TrainablePositionEmbedding, {"max_length": 5}, (STATES,), {"mask": MASK}),
    "trainable_of_every_option": Case(
        TrainablePositionEmbedding,
        {"max_length": 8, "merge": "concat", "size": 3, "initializer": "random_normal"},
        (STATES[:, :, :3],),
        {"mask": MASK},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_layer_passes_the_harness(case: str, tmp_path: Path) -> None:
    check_case(CASES[case], tmp_path)


def sinusoidal(position: int, size: int, layout: str) -> list[float]:
    angles = [position / 10000 ** (2 * j / size) for j in range(size // 2)]
    if layout == "halves":
        return [np.cos(angle) for angle in angles] + [np.sin(angle) for angle in angles]
    return [function(angle) for angle in angles for function in (np.sin, np.cos)]


def trained(max_length: int, **arguments: Any) -> TrainablePositionEmbedding:
    return TrainablePositionEmbedding(max_length, initializer="random_normal", **arguments)


def test_sinusoidal_by_hand() -> None:
    zeros = np.zeros((1, 2, 4), "float32")
    halves = to_numpy(SinusoidalPositionEmbedding()(zeros))[0]
    np.testing.assert_allclose(halves, [[1, 1, 0, 0], [0.540302, 0.999950, 0.841471, 0.0099998]], atol=1e-6)
    interleaved = to_numpy(SinusoidalPositionEmbedding(layout="interleaved")(zeros))[0]
    np.testing.assert_allclose(interleaved, [[0, 1, 0, 1], [0.841471, 0.540302, 0.0099998, 0.999950]], atol=1e-6)


@pytest.mark.parametrize("layout", ["halves", "interleaved"])
@pytest.mark.parametrize("merge", ["add", "concat"])
def test_sinusoidal_is_its_equation(merge: Any, layout: Any) -> None:
    size = 4 if merge == "add" else 6
    output = to_numpy(SinusoidalPositionEmbedding(merge, size, layout)(STATES, mask=MASK))
    for row, token in np.ndindex(MASK.shape):
        if not MASK[row, token]:
            assert (output[row, token] == 0).all()
            continue
        position = MASK[row, :token].sum()  # number of earlier real tokens
        embedding = np.array(sinusoidal(position, size, layout))
        state = STATES[row, token]
        expected = state + embedding if merge == "add" else np.concatenate([state, embedding])
        np.testing.assert_allclose(output[row, token], expected, atol=1e-6)


@pytest.mark.parametrize("merge", ["add", "concat"])
def test_trainable_is_its_equation(merge: Any) -> None:
    layer = trained(3, merge=merge)
    output = to_numpy(layer(STATES, mask=MASK))
    table = to_numpy(layer.table)
    for row, token in np.ndindex(MASK.shape):
        embedding = table[min(MASK[row, :token].sum(), 2)]
        state = STATES[row, token]
        expected = state + embedding if merge == "add" else np.concatenate([state, embedding])
        np.testing.assert_allclose(output[row, token], expected * MASK[row, token], atol=1e-6)


def test_a_trainable_embedding_starts_at_zero() -> None:
    np.testing.assert_array_equal(to_numpy(TrainablePositionEmbedding(5)(STATES)), STATES)


def test_positions_differ_in_half_precision() -> None:
    """float16 has no value between 2048 and 2050."""
    layer = SinusoidalPositionEmbedding(dtype="mixed_float16")
    output = to_numpy(layer(np.zeros((1, 2050, 2), "float32")))
    np.testing.assert_allclose(output[0, 2049], [np.cos(2049), np.sin(2049)], atol=1e-3)


def test_the_mask_is_passed_on() -> None:
    ids = keras.Input((None,), dtype="int32")
    states = keras.layers.Embedding(5, 4, mask_zero=True)(ids)
    states = trained(4)(SinusoidalPositionEmbedding()(states))
    model = keras.Model(ids, MaskedPooling()(states))
    answers = to_numpy(model(np.array([[1, 2, 0, 0], [0, 0, 1, 2], [0, 1, 2, 0]])))
    np.testing.assert_allclose(answers, np.repeat(to_numpy(model(np.array([[1, 2]]))), 3, axis=0), atol=1e-6)


@pytest.mark.parametrize("layer", [SinusoidalPositionEmbedding(size=6), trained(5, size=3)])
def test_a_size_that_cannot_be_added_is_an_error(layer: keras.layers.Layer) -> None:
    with pytest.raises(ValueError, match=r"Expected size=4, the features it is added to\. Received size="):
        layer(STATES)


# --- faults of the sources ---


def published_positions(states: np.ndarray, axis: int) -> np.ndarray:
    """Count along an axis from 0, including padding."""
    return np.cumsum(np.ones(states.shape[:2]), axis=axis) - 1


def test_the_first_published_positions_count_over_the_batch_and_ours_over_the_text() -> None:
    np.testing.assert_array_equal(published_positions(STATES, axis=0)[2], np.full(5, 2))
    ours = to_numpy(SinusoidalPositionEmbedding()(np.zeros_like(STATES)))
    np.testing.assert_array_equal(ours, np.repeat(ours[:1], 4, axis=0))
    assert np.abs(ours[0, 1:] - ours[0, :-1]).max(axis=-1).min() > 0.1


@pytest.mark.parametrize("layer", [SinusoidalPositionEmbedding(), trained(8)])
def test_published_positions_count_padding_and_ours_do_not(layer: keras.layers.Layer) -> None:
    padded = np.concatenate([np.full((1, 3, 4), 9, "float32"), STATES[:1]], axis=1)
    mask = np.array([[False] * 3 + [True] * 5])
    np.testing.assert_array_equal(published_positions(padded, axis=1)[0, 3:], np.arange(5) + 3)
    np.testing.assert_allclose(to_numpy(layer(padded, mask=mask))[:, 3:], to_numpy(layer(STATES[:1])), atol=1e-6)


def test_a_published_odd_size_comes_out_one_short_and_ours_is_an_error() -> None:
    published = [10000.0 ** (-2 * j / 5) for j in range(5 // 2)]
    assert 2 * len(published) == 4
    with pytest.raises(ValueError, match=r"Expected an even size.*Received size=5"):
        SinusoidalPositionEmbedding("concat", size=5)
    with pytest.raises(ValueError, match=r"Expected an even size.*Received size=3"):
        SinusoidalPositionEmbedding()(STATES[..., :3])


def test_a_published_embedding_changes_its_config_when_called_and_ours_does_not() -> None:
    """The published layer overwrites `size` when it is called."""
    layer = SinusoidalPositionEmbedding()
    before = layer.get_config()
    layer(STATES)
    assert layer.get_config() == before
    assert layer.size is None


def test_published_positions_past_the_table_are_undefined_and_ours_are_defined() -> None:
    table = np.arange(3)
    with pytest.raises(IndexError):
        table[np.arange(5)]
    layer = trained(3)
    shared = to_numpy(layer(np.zeros_like(STATES), mask=np.ones_like(MASK)))
    np.testing.assert_array_equal(shared[:, 3:], np.repeat(shared[:, 2:3], 2, axis=1))
    assert not np.array_equal(shared[:, 1], shared[:, 2])
    with pytest.raises(ValueError, match=r"Expected at most max_length=3 tokens.*Received 5 tokens"):
        layer(STATES)
    # Padding does not count towards max_length.
    few = np.arange(5)[None] < [[3], [2], [1], [0]]
    np.testing.assert_allclose(to_numpy(layer(STATES, mask=few))[:1, :3], to_numpy(layer(STATES[:1, :3])))
