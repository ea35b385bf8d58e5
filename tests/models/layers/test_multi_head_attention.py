from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models.layers import MultiHeadAttention
from tests.layer_checks import Case, check_case, to_numpy
from tests.models import numpy_reference as reference
from tests.models.heads_reference import check_padding, float64

GENERATOR = np.random.default_rng(7)
STATES = GENERATOR.normal(size=(4, 5, 4)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]], "bool")
KEYS = GENERATOR.normal(size=(4, 6, 3)).astype("float32")
VALUES = GENERATOR.normal(size=(4, 6, 4)).astype("float32")
KEY_MASK = np.array([[1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0]], "bool")
OFFSETS = np.subtract.outer(np.arange(5), np.arange(5))  # query - key
OF_NO_EFFECT = frozenset({"key_bias"})  # cancels in the softmax

CASES = {
    "multi_head_attention": Case(
        MultiHeadAttention, {"head_num": 2}, (STATES,), {"mask": MASK, "without_gradient": OF_NO_EFFECT}
    ),
    "multi_head_attention_of_every_option": Case(
        MultiHeadAttention,
        {
            "head_num": 4,
            "activation": "tanh",
            "kernel_initializer": "he_normal",
            "bias_initializer": "ones",
            "kernel_regularizer": keras.regularizers.L2(0.1),
            "bias_regularizer": keras.regularizers.L1(0.1),
            "kernel_constraint": keras.constraints.MaxNorm(3),
            "bias_constraint": "non_neg",
            "history_only": True,
        },
        (STATES,),
        {"mask": MASK, "sees": OFFSETS >= 0},
    ),
    "multi_head_attention_without_biases": Case(
        MultiHeadAttention, {"head_num": 1, "use_bias": False}, (STATES,), {"mask": MASK}
    ),
    "multi_head_attention_of_three_inputs": Case(
        MultiHeadAttention,
        {"head_num": 2},
        (STATES, STATES[..., :3], STATES[..., 1:] @ np.ones((3, 2), "float32")),
        {"mask": MASK, "as_list": True, "without_gradient": OF_NO_EFFECT},
    ),
    "multi_head_attention_in_a_window": Case(
        MultiHeadAttention,
        {"head_num": 2, "window": 2},
        (STATES,),
        {
            "mask": MASK,
            "sees": np.abs(OFFSETS) < 2,
            "call_arguments": {"return_band": True},
            "without_gradient": OF_NO_EFFECT,
        },
    ),
    "multi_head_attention_in_a_window_of_the_past": Case(
        MultiHeadAttention,
        {"head_num": 2, "window": 3, "history_only": True},
        (STATES,),
        {"mask": MASK, "sees": (OFFSETS >= 0) & (OFFSETS < 3), "without_gradient": OF_NO_EFFECT},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_layer_passes_the_harness(case: str, tmp_path: Path) -> None:
    check_case(CASES[case], tmp_path)


def weighted(layer: MultiHeadAttention, *shapes: tuple[int | None, ...]) -> MultiHeadAttention:
    """Build the layer with random weights."""
    layer.build(list(shapes) if len(shapes) > 1 else shapes[0])
    layer.set_weights([GENERATOR.normal(size=weight.shape) for weight in layer.weights])
    return layer


def one_text(
    inputs: list[np.ndarray], looks: np.ndarray, heads: int, weights: list[np.ndarray], activation: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Compute output[query, features] before masking, and maps[heads, query, key], head by head."""
    activation = activation or (lambda values: values)
    maps = zip(weights[0:6:2], weights[1:6:2], strict=True)
    projected = [activation(states @ kernel + bias) for states, (kernel, bias) in zip(inputs, maps, strict=True)]
    contexts, found = [], []
    for query, key, value in zip(*(np.split(each, heads, axis=1) for each in projected), strict=True):
        found.append(reference.real_softmax(query @ key.T / np.sqrt(key.shape[1]), looks))
        contexts.append(found[-1] @ value)
    return activation(np.concatenate(contexts, axis=1) @ weights[6] + weights[7]), np.stack(found)


def test_multi_head_attention_by_hand() -> None:
    layer = MultiHeadAttention(1)
    layer.build((None, None, 1))
    # Queries are 1, keys ln 3 * x, values 2 x + 1, and the output projection is y / 2 - 1.
    weights = [[[0]], [1], [[np.log(3)]], [7], [[2]], [1], [[0.5]], [-1]]
    layer.set_weights([np.array(weight, "float32") for weight in weights])
    states, mask = np.array([[[1], [0], [9]]], "float32"), np.array([[True, True, False]])
    output, maps = float64(*layer(states, mask=mask, return_attention_scores=True))
    np.testing.assert_allclose(maps, [[[[0.75, 0.25, 0], [0.75, 0.25, 0], [0, 0, 0]]]], atol=1e-6)
    np.testing.assert_allclose(output, [[[0.25], [0.25], [0]]], atol=1e-6)  # (3/4 * 3 + 1/4 * 1) / 2 - 1


@pytest.mark.parametrize(
    ("arguments", "sees"),
    [
        ({}, OFFSETS == OFFSETS),
        ({"history_only": True}, OFFSETS >= 0),
        ({"window": 1}, OFFSETS == 0),
        ({"window": 2}, np.abs(OFFSETS) < 2),
        ({"window": 2, "history_only": True}, (OFFSETS == 0) | (OFFSETS == 1)),
        ({"window": 9}, OFFSETS == OFFSETS),
        ({"activation": "tanh"}, OFFSETS == OFFSETS),
    ],
)
def test_multi_head_attention_is_its_equation(arguments: dict[str, Any], sees: np.ndarray) -> None:
    layer = weighted(MultiHeadAttention(2, **arguments), STATES.shape)
    output, maps = float64(*layer(STATES, mask=MASK, return_attention_scores=True))
    activation = np.tanh if "activation" in arguments else None
    for row, (states, mask) in enumerate(zip(STATES.astype("float64"), MASK, strict=True)):
        looks = reference.pairs(mask) & sees
        expected, expected_maps = one_text([states] * 3, looks, 2, float64(*layer.get_weights()), activation)
        np.testing.assert_allclose(maps[row], expected_maps, atol=1e-5)
        np.testing.assert_allclose(output[row][mask], expected[mask], atol=1e-5)
        assert (output[row][~mask] == 0).all()


def test_multi_head_attention_of_three_inputs_is_its_equation() -> None:
    layer = weighted(MultiHeadAttention(2), STATES.shape, KEYS.shape, VALUES.shape)
    masks = [MASK, KEY_MASK, np.roll(KEY_MASK, 1, axis=1)]
    output, maps = float64(*layer([STATES, KEYS, VALUES], mask=masks, return_attention_scores=True))
    for row in range(4):
        looks = np.logical_and(MASK[row][:, None], (masks[1] & masks[2])[row][None, :])
        weights = float64(*layer.get_weights())
        expected, expected_maps = one_text([STATES[row], KEYS[row], VALUES[row]], looks, 2, weights)
        np.testing.assert_allclose(maps[row], expected_maps, atol=1e-5)
        np.testing.assert_allclose(output[row][MASK[row]], expected[MASK[row]], atol=1e-5)


@pytest.mark.parametrize("window", [None, 3])
def test_the_side_of_the_padding_does_not_matter(window: int | None) -> None:
    check_padding(weighted(MultiHeadAttention(2, window=window), STATES.shape), STATES[:1])


def test_the_band_equals_the_map_within_the_window() -> None:
    layer = MultiHeadAttention(2, window=2)
    _, maps, band = float64(*layer(STATES, mask=MASK, return_attention_scores=True, return_band=True))
    assert band.shape == (4, 2, 5, 3)
    for query in range(5):
        for column, key in enumerate(range(query - 1, query + 2)):
            expected = maps[:, :, query, key] if 0 <= key < 5 else 0
            np.testing.assert_array_equal(band[:, :, query, column], np.broadcast_to(expected, (4, 2)))


def test_a_text_of_200_000_tokens_does_not_build_the_full_map() -> None:
    """The full maps would take 320 GB."""
    layer = MultiHeadAttention(2, window=3)
    states = np.resize(STATES, (1, 200_000, 4))
    output = to_numpy(layer(states))
    np.testing.assert_allclose(
        output[:, 150_005:150_015], to_numpy(layer(states[:, 150_000:150_020]))[:, 5:15], atol=1e-6
    )


def test_weights_are_in_the_order_of_keras_multi_head() -> None:
    layer = MultiHeadAttention(2)
    layer.build([(None, 5, 4), (None, 5, 3), (None, 5, 6)])
    shapes = [(4, 6), (6,), (3, 6), (6,), (6, 6), (6,), (6, 6), (6,)]  # W_q, b_q, W_k, b_k, W_v, b_v, W_o, b_o
    assert [weight.shape for weight in layer.weights] == shapes
    assert [weight.name.split("_")[0] for weight in layer.weights[::2]] == ["query", "key", "value", "output"]


def test_a_model_loads_with_its_custom_objects(tmp_path: Path) -> None:
    inputs = keras.Input((5, 4))
    model = keras.Model(inputs, MultiHeadAttention(2)(inputs))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", custom_objects=MultiHeadAttention.get_custom_objects())
    np.testing.assert_array_equal(to_numpy(again(STATES)), to_numpy(model(STATES)))


def test_invalid_inputs_are_clear_errors() -> None:
    with pytest.raises(ValueError, match=r"Expected value features divisible by head_num\. Received 4 with head_num=3"):
        MultiHeadAttention(3).build(STATES.shape)
    with pytest.raises(ValueError, match=r"Expected as many keys as queries.*Received 5 queries and 6 keys"):
        MultiHeadAttention(2, window=1)([STATES, KEYS, VALUES])
    with pytest.raises(ValueError, match=r"Expected a window for return_band=True. Received window=None"):
        MultiHeadAttention(2)(STATES, return_band=True)


# --- faults of the sources ---


def test_the_published_relu_loses_the_sign_of_scores_and_our_default_keeps_it() -> None:
    weights = [GENERATOR.normal(size=(4, 4)) if each % 2 == 0 else np.zeros(4) for each in range(8)]
    layer = MultiHeadAttention(1)
    layer.build(STATES.shape)
    layer.set_weights(weights)
    _, maps = float64(*layer(STATES, return_attention_scores=True))
    query, key = STATES[0] @ weights[0], STATES[0] @ weights[2]
    scores, published = query @ key.T / 2, np.maximum(query, 0) @ np.maximum(key, 0).T / 2
    assert scores.min() < 0 <= published.min()
    np.testing.assert_allclose(maps[0, 0], reference.softmax(scores), atol=1e-6)
    assert np.abs(maps[0, 0] - reference.softmax(published)).max() > 0.1


@pytest.mark.parametrize("initializer", ["glorot_normal", keras.initializers.RandomNormal()])
def test_published_kernels_start_equal_and_ours_do_not(initializer: Any) -> None:
    shared = keras.initializers.get(initializer)
    np.testing.assert_array_equal(to_numpy(shared((4, 4))), to_numpy(shared((4, 4))))
    layer = MultiHeadAttention(2, kernel_initializer=initializer)
    layer.build(STATES.shape)
    kernels = [to_numpy(weight) for weight in layer.weights[::2]]
    assert len(kernels) == 4
    for index, kernel in enumerate(kernels):
        assert all(not np.array_equal(kernel, other) for other in kernels[index + 1 :])


def test_the_published_map_has_queries_before_heads_and_ours_after() -> None:
    batch_of_heads = np.arange(4 * 2 * 5 * 5).reshape(4 * 2, 5, 5)
    published = batch_of_heads.reshape(4, 2, 5, 5).transpose(0, 2, 1, 3)
    assert published.shape == (4, 5, 2, 5)
    _, maps = MultiHeadAttention(2)(STATES, return_attention_scores=True)
    assert maps.shape == (4, 2, 5, 5)


def test_the_published_mask_treats_a_text_of_padding_as_words_and_ours_gives_zeros() -> None:
    scores = GENERATOR.normal(size=5)
    np.testing.assert_allclose(reference.softmax(scores - 10000 * np.ones(5)), reference.softmax(scores), atol=1e-6)
    output, maps = float64(
        *weighted(MultiHeadAttention(2), STATES.shape)(STATES, mask=MASK, return_attention_scores=True)
    )
    assert (maps[3] == 0).all()
    assert (output[3] == 0).all()


def test_a_large_score_overrides_the_published_mask_and_not_ours() -> None:
    scores = np.array([0.0, 20000.0])  # the second key is padding
    assert reference.softmax(scores - 10000 * np.array([0, 1]))[1] == 1
    layer = MultiHeadAttention(1, use_bias=False)
    layer.build((None, None, 1))
    layer.set_weights([np.ones((1, 1), "float32")] * 4)
    states = np.array([[[1], [20000]]], "float32")
    _, maps = float64(*layer(states, mask=np.array([[True, False]]), return_attention_scores=True))
    np.testing.assert_array_equal(maps[0, 0], [[1, 0], [0, 0]])


def test_published_calls_create_inner_layers_and_ours_do_not() -> None:
    layer = MultiHeadAttention(2)
    layer(STATES)
    before = set(vars(layer))
    layer(STATES, return_attention_scores=True)
    assert set(vars(layer)) == before
    assert not layer._layers
