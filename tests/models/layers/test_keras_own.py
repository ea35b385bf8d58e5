"""Keras' own attentions as they are: with our mask and pooling they see no padding; and what they do without."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from models.layers import MaskedPooling, TokenWeights
from tests.layer_checks import to_numpy
from tests.models import numpy_reference as reference

STATES = np.random.default_rng(7).normal(size=(4, 5, 4)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]], "bool")
WITHOUT_MASKING = "ignore:Layer '(query|key|value)' .of type EinsumDense. was passed an input with a mask:UserWarning"

LAYERS: dict[str, Callable[[], keras.layers.Layer]] = {
    "attention": keras.layers.Attention,
    "attention_scaled": lambda: keras.layers.Attention(use_scale=True),
    "attention_concat": lambda: keras.layers.Attention(use_scale=True, score_mode="concat"),
    "additive": keras.layers.AdditiveAttention,
    "additive_without_scale": lambda: keras.layers.AdditiveAttention(use_scale=False),
    "multi_head": lambda: keras.layers.MultiHeadAttention(2, 3),
    "multi_head_of_other_widths": lambda: keras.layers.MultiHeadAttention(3, 2, value_dim=5, output_shape=6),
    "multi_head_gated": lambda: keras.layers.MultiHeadAttention(2, 3, use_gate=True, sliding_window=2),
    "group_query": lambda: keras.layers.GroupQueryAttention(3, 4, 2),
}
HEADED = {
    keras.layers.MultiHeadAttention: {"num_heads": 2, "key_dim": 3},
    keras.layers.GroupQueryAttention: {"head_dim": 3, "num_query_heads": 2, "num_key_value_heads": 2},
}


def attended(layer: keras.layers.Layer, states: Any, mask: Any, scores: bool = True, **arguments: Any) -> Any:
    """Of a self-attention: the output, and with `scores` the map as well."""
    if isinstance(layer, tuple(HEADED)):
        return layer(states, states, value_mask=mask, return_attention_scores=scores, **arguments)
    masks = None if mask is None else [mask, mask]
    return layer([states, states], mask=masks, return_attention_scores=scores, **arguments)


def pooled(layer: keras.layers.Layer, states: np.ndarray, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """How a classifier uses it: pooled[batch, features] over the real positions, and one weight per token."""
    states = ops.convert_to_tensor(states)
    mask = None if mask is None else ops.convert_to_tensor(mask)
    output, maps = attended(layer, states, mask)
    vector, coefficients = MaskedPooling()(output, mask=mask, return_attention_scores=True)
    maps = ops.mean(maps, axis=1) if len(maps.shape) == 4 else maps
    return to_numpy(vector), to_numpy(TokenWeights()(maps, coefficients))


def drawn(kind: str) -> keras.layers.Layer:
    layer = LAYERS[kind]()
    attended(layer, ops.convert_to_tensor(STATES), None)
    generator = np.random.default_rng(3)
    for weight in layer.trainable_weights:
        weight.assign(generator.normal(scale=0.7, size=weight.shape))
    return layer


# --- with our mask and our pooling ---


@pytest.mark.parametrize("kind", LAYERS)
def test_pooled_vector_and_token_weights_see_no_padding(kind: str) -> None:
    layer = drawn(kind)
    vector, weights = pooled(layer, STATES, MASK)
    junk = np.where(MASK[..., None], STATES, 1e3).astype("float32")
    for one, other in zip(pooled(layer, junk, MASK), (vector, weights), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert (weights >= 0).all()
    assert (weights[~MASK] == 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), MASK.any(axis=1), atol=1e-5)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_text_of_padding_is_zeros(kind: str) -> None:
    vector, weights = pooled(drawn(kind), STATES, MASK)
    assert (vector[3] == 0).all()
    assert (weights[3] == 0).all()
    assert np.isfinite(vector).all()


@pytest.mark.parametrize("kind", LAYERS)
def test_where_padding_stands_changes_nothing(kind: str) -> None:
    layer = drawn(kind)
    text, junk = STATES[:1, :3], np.full((1, 2, 4), 7, "float32")
    alone = pooled(layer, text, None)
    for left, right in ((0, 2), (2, 0), (1, 1)):
        padded = np.concatenate([junk[:, :left], text, junk[:, :right]], axis=1)
        mask = np.array([[False] * left + [True] * 3 + [False] * right])
        vector, weights = pooled(layer, padded, mask)
        np.testing.assert_allclose(vector, alone[0], atol=1e-5)
        np.testing.assert_allclose(weights[:, left : left + 3], alone[1], atol=1e-6)


def scores_of(kind: str, states: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    """e[heads, query, key] of one text, before the softmax."""
    pairs = states[:, None] + states[None]  # [query, key, features]
    match kind:
        case "attention":
            return (states @ states.T)[None]
        case "attention_scaled":
            return (weights[0] * states @ states.T)[None]
        case "attention_concat":
            scale, concat_weight = weights
            return (concat_weight * np.tanh(scale * pairs).sum(axis=-1))[None]
        case "additive":
            return (np.tanh(pairs) @ weights[0])[None]
        case "additive_without_scale":
            return np.tanh(pairs).sum(axis=-1)[None]
    query, query_bias, key, key_bias = weights[:4]
    queries = np.einsum("tf,fhs->hts", states, query) + query_bias[:, None]
    keys = np.einsum("tf,fhs->hts", states, key) + key_bias[:, None]
    keys = np.repeat(keys, len(queries) // len(keys), axis=0)  # what query heads share in group query attention
    return queries @ keys.swapaxes(1, 2) / np.sqrt(queries.shape[-1])


@pytest.mark.parametrize("kind", LAYERS)
def test_the_map_of_keras_is_its_equation(kind: str) -> None:
    layer = drawn(kind)
    _, maps = attended(layer, ops.convert_to_tensor(STATES), ops.convert_to_tensor(MASK))
    maps = to_numpy(maps) if len(maps.shape) == 4 else to_numpy(maps)[:, None]
    weights = [to_numpy(weight).astype("float64") for weight in layer.weights]
    near = abs(np.subtract.outer(np.arange(5), np.arange(5))) < (2 if kind == "multi_head_gated" else 5)
    for row, (states, mask) in enumerate(zip(STATES.astype("float64"), MASK, strict=True)):
        expected = scores_of(kind, states, weights)
        expected = reference.real_softmax(expected, np.broadcast_to(near & mask, expected.shape))
        np.testing.assert_allclose(maps[row][:, mask], expected[:, mask], atol=1e-5)


# --- Attention ---


def test_the_worked_numbers_of_the_write_up_are_right_and_nearly_saturated_for_want_of_a_scale() -> None:
    query = np.array([[[1, 1, 1, 3]]], "float32")
    keys = np.array([[[1, 1, 2, 4], [4, 1, 1, 3], [1, 1, 2, 1]]], "float32")
    _, weights = keras.layers.Attention()([query, keys], return_attention_scores=True)
    np.testing.assert_allclose(to_numpy(weights)[0, 0], [0.731, 0.269, 9.02e-5], rtol=1e-3)
    _, scaled = keras.layers.Attention()([query / 2, keys], return_attention_scores=True)  # / sqrt(4)
    np.testing.assert_allclose(to_numpy(scaled)[0, 0], reference.softmax(np.array([8, 7.5, 3.5])), rtol=1e-5)


def test_one_query_against_two_texts_works_by_broadcasting_alone() -> None:
    query, keys = STATES[:1, :1], STATES[:2, :3]
    both = to_numpy(keras.layers.Attention()([query, keys]))
    assert both.shape == (2, 1, 4)
    for row in range(2):
        alone = to_numpy(keras.layers.Attention()([query, keys[row : row + 1]]))
        np.testing.assert_allclose(both[row], alone[0], atol=1e-6)


def test_the_causal_argument_of_the_constructor_has_become_one_of_the_call() -> None:
    with pytest.raises(ValueError, match=r"Unrecognized keyword arguments.*causal"):
        keras.layers.Attention(causal=True)
    inputs = [STATES, STATES]
    _, weights = keras.layers.Attention()(inputs, use_causal_mask=True, return_attention_scores=True)
    np.testing.assert_array_equal(to_numpy(weights)[0] > 0, np.tri(5, dtype=bool))


def test_the_second_input_is_the_value_and_the_third_the_key() -> None:
    query, value, key = STATES, STATES + 1, STATES[:, ::-1]
    output, weights = keras.layers.Attention()([query, value, key], return_attention_scores=True)
    expected = reference.softmax(query @ key.swapaxes(1, 2))
    np.testing.assert_allclose(to_numpy(weights), expected, atol=1e-5)
    np.testing.assert_allclose(to_numpy(output), expected @ value, atol=1e-5)


@pytest.mark.parametrize("kind", ["attention", "additive"])
def test_a_text_of_padding_has_weights_and_no_output(kind: str) -> None:
    """Even over pads for dot products of nothing: the masked pooling gives these rows no coefficient."""
    layer = keras.layers.Attention() if kind == "attention" else keras.layers.AdditiveAttention()
    output, weights = attended(layer, ops.zeros((1, 5, 4)), ops.zeros((1, 5), "bool"))
    np.testing.assert_allclose(to_numpy(weights), 0.2, atol=1e-6)
    assert (to_numpy(output) == 0).all()


def test_a_padded_query_has_no_output_and_its_weights_still_sum_to_one() -> None:
    """So the mean over all rows of the map is not how the tokens were weighted."""
    output, weights = attended(keras.layers.Attention(), ops.convert_to_tensor(STATES), ops.convert_to_tensor(MASK))
    assert (to_numpy(output)[1, 3:] == 0).all()
    np.testing.assert_allclose(to_numpy(weights)[1].sum(axis=-1), 1, atol=1e-6)
    _, ours = pooled(keras.layers.Attention(), STATES, MASK)
    assert np.abs(to_numpy(weights)[1].mean(axis=0) - ours[1]).max() > 0.01


@pytest.mark.parametrize("kind", ["attention", "additive"])
def test_weights_are_taken_after_dropout_in_training(kind: str) -> None:
    layer_class = keras.layers.Attention if kind == "attention" else keras.layers.AdditiveAttention
    layer = layer_class(dropout=0.5, seed=1)
    _, in_training = attended(layer, ops.convert_to_tensor(STATES), None, training=True)
    _, weights = attended(layer, ops.convert_to_tensor(STATES), None, training=False)
    assert np.abs(to_numpy(in_training).sum(axis=-1) - 1).max() > 0.1
    np.testing.assert_allclose(to_numpy(weights).sum(axis=-1), 1, atol=1e-6)


def test_masks_of_an_embedding_arrive_for_query_and_value_alike() -> None:
    states = keras.layers.Embedding(5, 4, mask_zero=True)(np.array([[1, 2, 0]]))
    output, weights = keras.layers.Attention()([states, states], return_attention_scores=True)
    assert (to_numpy(weights)[:, :, 2] == 0).all()
    assert (to_numpy(output)[:, 2] == 0).all()


# --- AdditiveAttention ---


def test_the_score_mode_of_additive_attention_is_taken_and_of_no_effect() -> None:
    outputs = []
    for mode in ("dot", "concat"):
        layer = keras.layers.AdditiveAttention(use_scale=False, score_mode=mode)
        outputs.append(to_numpy(layer([STATES, STATES])))
    np.testing.assert_array_equal(*outputs)


def test_additive_attention_projects_neither_queries_nor_keys() -> None:
    """Bahdanau's needs a Dense before it; all that is learned here is one scale a feature."""
    layer = keras.layers.AdditiveAttention()
    layer([STATES, STATES])
    assert [tuple(weight.shape) for weight in layer.weights] == [(4,)]


# --- MultiHeadAttention and GroupQueryAttention ---


def test_multi_head_attention_ignores_a_query_mask_that_is_handed_over_and_group_query_attention_does_not() -> None:
    states, mask = ops.convert_to_tensor(STATES), ops.convert_to_tensor(MASK)
    padded = {}
    for kind in ("multi_head", "group_query"):
        _, weights = drawn(kind)(states, states, query_mask=mask, return_attention_scores=True)
        padded[kind] = to_numpy(weights)[1, :, 3:].sum(axis=-1)
    np.testing.assert_allclose(padded["multi_head"], 1, atol=1e-5)
    np.testing.assert_array_equal(padded["group_query"], 0)


@pytest.mark.parametrize("kind", ["multi_head", "group_query"])
def test_a_value_mask_hides_keys_and_leaves_padded_queries_looking(kind: str) -> None:
    _, weights = attended(drawn(kind), ops.convert_to_tensor(STATES), ops.convert_to_tensor(MASK))
    assert (to_numpy(weights)[1, :, :, 3:] == 0).all()
    np.testing.assert_allclose(to_numpy(weights)[1, :, 3:].sum(axis=-1), 1, atol=1e-5)


@pytest.mark.filterwarnings(WITHOUT_MASKING)
@pytest.mark.parametrize("kind", ["multi_head", "group_query"])
def test_rows_of_padded_queries_are_zeros_where_the_mask_comes_with_the_states(kind: str) -> None:
    states = keras.layers.Embedding(5, 4, mask_zero=True)(np.array([[1, 2, 0]]))
    _, weights = drawn(kind)(states, states, return_attention_scores=True)
    assert (to_numpy(weights)[:, :, 2] == 0).all()
    assert (to_numpy(weights)[:, :, :, 2] == 0).all()


@pytest.mark.filterwarnings(WITHOUT_MASKING)
@pytest.mark.parametrize("kind", ["multi_head", "group_query"])
def test_asking_for_scores_changes_padded_rows_and_masked_pooling_does_not_see_it(kind: str) -> None:
    """Scores take another path, which agrees on real rows alone: what is explained must be what was predicted."""
    layer, ids, mask = drawn(kind), np.array([[1, 2, 3, 0, 0]]), np.array([[True, True, True, False, False]])
    embedding = keras.layers.Embedding(5, 4, mask_zero=True)
    embedding.build()
    embedding.set_weights([np.random.default_rng(5).normal(size=(5, 4))])
    fused = layer(embedding(ids), embedding(ids))
    explicit, _ = layer(embedding(ids), embedding(ids), return_attention_scores=True)
    np.testing.assert_allclose(to_numpy(explicit)[mask], to_numpy(fused)[mask], atol=1e-5)
    naive = [to_numpy(output).mean(axis=1) for output in (fused, explicit)]
    assert np.abs(naive[0] - naive[1]).max() > 0.01
    ours = [to_numpy(MaskedPooling()(output, mask=mask)) for output in (fused, explicit)]
    np.testing.assert_allclose(ours[0], ours[1], atol=1e-5)


@pytest.mark.parametrize("kind", ["multi_head", "group_query"])
def test_a_text_of_padding_is_not_the_same_with_and_without_scores(kind: str) -> None:
    layer, states, mask = drawn(kind), ops.convert_to_tensor(STATES), ops.convert_to_tensor(MASK)
    explicit, weights = attended(layer, states, mask)
    fused = attended(layer, states, mask, scores=False)
    assert (to_numpy(weights)[3] == 0).all()
    assert np.abs(to_numpy(explicit)[3] - to_numpy(fused)[3]).max() > 0.01
    for output in (explicit, fused):
        assert (to_numpy(MaskedPooling()(output, mask=MASK))[3] == 0).all()


@pytest.mark.parametrize("layer_class", HEADED)
def test_maps_of_several_heads_are_taken_before_dropout(layer_class: Any) -> None:
    layer = layer_class(dropout=0.5, seed=1, **HEADED[layer_class])
    output, weights = attended(layer, ops.convert_to_tensor(STATES), None, training=True)
    np.testing.assert_allclose(to_numpy(weights).sum(axis=-1), 1, atol=1e-5)
    still, _ = attended(layer, ops.convert_to_tensor(STATES), None, training=False)
    assert np.abs(to_numpy(output) - to_numpy(still)).max() > 0.01


@pytest.mark.parametrize("layer_class", HEADED)
def test_scores_and_flash_attention_exclude_each_other(layer_class: Any) -> None:
    layer = layer_class(flash_attention=True, **HEADED[layer_class])
    with pytest.raises(ValueError, match="not supported when flash attention is enabled"):
        attended(layer, ops.convert_to_tensor(STATES), None)


def test_multi_head_attention_promises_a_square_map_across_two_texts_and_group_query_the_right_one() -> None:
    query, value = keras.Input((5, 4)), keras.Input((7, 4))
    promised = {}
    for kind in ("multi_head", "group_query"):
        promised[kind] = drawn(kind)(query, value, return_attention_scores=True)[1].shape[2:]
        given = drawn(kind)(STATES, np.ones((4, 7, 4), "float32"), return_attention_scores=True)[1].shape[2:]
        assert tuple(given) == (5, 7)
    assert promised == {"multi_head": (5, 5), "group_query": (5, 7)}


def test_causal_maps_are_causal_with_scores_as_without() -> None:
    """A version of Keras between releases forgot it where scores were asked for."""
    for kind in ("multi_head", "group_query"):
        layer, states = drawn(kind), ops.convert_to_tensor(STATES)
        explicit, weights = attended(layer, states, None, use_causal_mask=True)
        np.testing.assert_array_equal(to_numpy(weights)[0, 0] > 0, np.tri(5, dtype=bool))
        fused = attended(layer, states, None, scores=False, use_causal_mask=True)
        np.testing.assert_allclose(to_numpy(explicit), to_numpy(fused), atol=1e-5)


@pytest.mark.parametrize("layer_class", HEADED)
def test_kernels_of_one_shape_start_apart(layer_class: Any) -> None:
    layer = layer_class(**HEADED[layer_class])
    attended(layer, ops.convert_to_tensor(STATES), None)
    kernels = [to_numpy(weight) for weight in layer.weights if "kernel" in weight.path][:3]
    assert np.abs(kernels[0] - kernels[1]).max() > 0.01
    assert np.abs(kernels[1] - kernels[2]).max() > 0.01


def test_group_query_attention_warns_of_the_masks_it_handles_and_multi_head_attention_does_not() -> None:
    def states() -> Any:
        return keras.layers.Embedding(5, 4, mask_zero=True)(np.array([[1, 2, 0]]))

    keras.layers.MultiHeadAttention(2, 3)(states(), states())
    layer = keras.layers.GroupQueryAttention(3, 4, 2)
    with pytest.warns(UserWarning, match="does not support masking") as told:
        layer(states(), states())
    assert len(told) == 3


# --- what comes before and after ---


def test_a_maximum_over_positions_ignores_the_mask_and_says_so() -> None:
    states = keras.layers.Embedding(5, 4, mask_zero=True)(np.array([[1, 2, 0]]))
    with pytest.warns(UserWarning, match="does not support masking"):
        highest = keras.layers.GlobalMaxPooling1D()(states)
    np.testing.assert_array_equal(to_numpy(highest), to_numpy(states).max(axis=1))


@pytest.mark.parametrize("layer_class", [keras.layers.LSTM, keras.layers.GRU])
def test_a_recurrent_layer_repeats_its_last_state_on_padding_and_a_bidirectional_one_gives_zeros(
    layer_class: Any,
) -> None:
    """So a pooling that forgets the mask counts the last state again, or shrinks what it gives."""
    text, mask = STATES[:1], np.array([[True, True, True, False, False]])
    once = to_numpy(layer_class(3, return_sequences=True)(text, mask=mask))
    np.testing.assert_array_equal(once[0, 3:], once[0, [2, 2]])
    both_ways = keras.layers.Bidirectional(layer_class(3, return_sequences=True))
    assert (to_numpy(both_ways(text, mask=mask))[0, 3:] == 0).all()
