from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models.layers import MultiHeadAttention
from tests.layer_checks import Case, check_case, to_numpy
from tests.models import numpy_reference as reference

GENERATOR = np.random.default_rng(7)
STATES = GENERATOR.normal(size=(4, 5, 4)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]], "bool")
KEYS = GENERATOR.normal(size=(4, 6, 3)).astype("float32")
VALUES = GENERATOR.normal(size=(4, 6, 4)).astype("float32")
KEY_MASK = np.array([[1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0]], "bool")
OFFSETS = np.subtract.outer(np.arange(5), np.arange(5))  # query - key
OF_NO_EFFECT = frozenset({"key_bias"})  # it moves all the scores of a query alike

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


def float64(*tensors: Any) -> list[np.ndarray]:
    return [to_numpy(tensor).astype("float64") for tensor in tensors]


def weighted(layer: MultiHeadAttention, *shapes: tuple[int | None, ...]) -> MultiHeadAttention:
    """Built, with biases that are not zero."""
    layer.build(list(shapes) if len(shapes) > 1 else shapes[0])
    layer.set_weights([GENERATOR.normal(size=weight.shape) for weight in layer.weights])
    return layer


def one_text(
    inputs: list[np.ndarray], looks: np.ndarray, heads: int, weights: list[np.ndarray], activation: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """output[query, features] before padding is set to zero, and maps[heads, query, key], head by head."""
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
    # Queries are 1 throughout, keys ln 3 times the state and values twice it plus 1; halved and less 1 at the end.
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
def test_answers_do_not_depend_on_where_padding_stands(window: int | None) -> None:
    layer = weighted(MultiHeadAttention(2, window=window), STATES.shape)
    real, pad = STATES[:1], np.full((1, 3, 4), 5, "float32")
    expected = to_numpy(layer(real))
    left = layer(np.concatenate([pad, real], axis=1), mask=np.array([[False] * 3 + [True] * 5]))
    right = layer(np.concatenate([real, pad], axis=1), mask=np.array([[True] * 5 + [False] * 3]))
    np.testing.assert_allclose(to_numpy(left)[:, 3:], expected, atol=1e-5)
    np.testing.assert_allclose(to_numpy(right)[:, :5], expected, atol=1e-5)


def test_the_band_holds_what_the_maps_hold_within_the_window() -> None:
    layer = MultiHeadAttention(2, window=2)
    _, maps, band = float64(*layer(STATES, mask=MASK, return_attention_scores=True, return_band=True))
    assert band.shape == (4, 2, 5, 3)
    for query in range(5):
        for column, key in enumerate(range(query - 1, query + 2)):
            expected = maps[:, :, query, key] if 0 <= key < 5 else 0
            np.testing.assert_array_equal(band[:, :, query, column], np.broadcast_to(expected, (4, 2)))


def test_a_window_over_a_text_of_200_000_tokens_costs_no_more_than_itself() -> None:
    """The whole maps would hold 320 GB."""
    layer = MultiHeadAttention(2, window=3)
    states = np.resize(STATES, (1, 200_000, 4))
    output = to_numpy(layer(states))
    np.testing.assert_allclose(
        output[:, 150_005:150_015], to_numpy(layer(states[:, 150_000:150_020]))[:, 5:15], atol=1e-6
    )


def test_weights_come_in_the_order_of_keras_multi_head() -> None:
    layer = MultiHeadAttention(2)
    layer.build([(None, 5, 4), (None, 5, 3), (None, 5, 6)])
    shapes = [(4, 6), (6,), (3, 6), (6,), (6, 6), (6,), (6, 6), (6,)]  # W_q, b_q, W_k, b_k, W_v, b_v, W_o, b_o
    assert [weight.shape for weight in layer.weights] == shapes
    assert [weight.name.split("_")[0] for weight in layer.weights[::2]] == ["query", "key", "value", "output"]


def test_a_model_is_read_with_its_custom_objects(tmp_path: Path) -> None:
    inputs = keras.Input((5, 4))
    model = keras.Model(inputs, MultiHeadAttention(2)(inputs))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", custom_objects=MultiHeadAttention.get_custom_objects())
    np.testing.assert_array_equal(to_numpy(again(STATES)), to_numpy(model(STATES)))


@pytest.mark.parametrize("arguments", [{"head_num": 0}, {"window": 0}])
def test_an_invalid_argument_says_what_was_expected(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"Expected .*Received"):
        MultiHeadAttention(**{"head_num": 1} | arguments)


def test_an_input_that_does_not_fit_says_what_was_expected() -> None:
    with pytest.raises(ValueError, match=r"Expected value features that head_num divides\. Received 4 with head_num=3"):
        MultiHeadAttention(3).build(STATES.shape)
    with pytest.raises(ValueError, match=r"Expected as many keys as queries.*Received 5 queries and 6 keys"):
        MultiHeadAttention(2, window=1)([STATES, KEYS, VALUES])
    with pytest.raises(ValueError, match=r"Expected a layer with a window.*Received window=None"):
        MultiHeadAttention(2)(STATES, return_band=True)


# --- faults of the sources that this layer does not have ---


def test_the_published_relu_loses_the_sign_of_every_score_and_our_default_keeps_it() -> None:
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
def test_the_four_published_kernels_start_alike_and_ours_do_not(initializer: Any) -> None:
    shared = keras.initializers.get(initializer)
    np.testing.assert_array_equal(to_numpy(shared((4, 4))), to_numpy(shared((4, 4))))
    layer = MultiHeadAttention(2, kernel_initializer=initializer)
    layer.build(STATES.shape)
    kernels = [to_numpy(weight) for weight in layer.weights[::2]]
    assert len(kernels) == 4
    for index, kernel in enumerate(kernels):
        assert all(not np.array_equal(kernel, other) for other in kernels[index + 1 :])


def test_the_published_map_has_its_queries_before_its_heads_and_ours_after() -> None:
    batch_of_heads = np.arange(4 * 2 * 5 * 5).reshape(4 * 2, 5, 5)
    published = batch_of_heads.reshape(4, 2, 5, 5).transpose(0, 2, 1, 3)
    assert published.shape == (4, 5, 2, 5)
    _, maps = MultiHeadAttention(2)(STATES, return_attention_scores=True)
    assert maps.shape == (4, 2, 5, 5)


def test_the_published_mask_leaves_a_text_of_padding_as_if_it_were_words_and_ours_gives_zeros() -> None:
    scores = GENERATOR.normal(size=5)
    np.testing.assert_allclose(reference.softmax(scores - 10000 * np.ones(5)), reference.softmax(scores), atol=1e-6)
    output, maps = float64(
        *weighted(MultiHeadAttention(2), STATES.shape)(STATES, mask=MASK, return_attention_scores=True)
    )
    assert (maps[3] == 0).all()
    assert (output[3] == 0).all()


def test_the_published_mask_gives_way_to_a_large_score_and_ours_does_not() -> None:
    scores = np.array([0.0, 20000.0])  # the second key is padding
    assert reference.softmax(scores - 10000 * np.array([0, 1]))[1] == 1
    layer = MultiHeadAttention(1, use_bias=False)
    layer.build((None, None, 1))
    layer.set_weights([np.ones((1, 1), "float32")] * 4)
    states = np.array([[[1], [20000]]], "float32")
    _, maps = float64(*layer(states, mask=np.array([[True, False]]), return_attention_scores=True))
    np.testing.assert_array_equal(maps[0, 0], [[1, 0], [0, 0]])


def test_a_published_map_is_made_by_a_new_inner_layer_at_every_call_and_ours_by_none() -> None:
    layer = MultiHeadAttention(2)
    layer(STATES)
    before = set(vars(layer))
    layer(STATES, return_attention_scores=True)
    assert set(vars(layer)) == before
    assert not layer._layers
