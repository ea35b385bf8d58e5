"""Keras' own attentions ignore padding with our mask and pooling, and the behaviour that makes both necessary."""

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
HEADED = (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention)


def attended(layer: keras.layers.Layer, states: Any, mask: Any, scores: bool = True, **arguments: Any) -> Any:
    """Apply self-attention: the output, and with `scores` the map."""
    if isinstance(layer, HEADED):
        return layer(states, states, value_mask=mask, return_attention_scores=scores, **arguments)
    masks = None if mask is None else [mask, mask]
    return layer([states, states], mask=masks, return_attention_scores=scores, **arguments)


def pooled(layer: keras.layers.Layer, states: np.ndarray, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Pool as a classifier does: pooled[batch, features] and one weight per token."""
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


@pytest.mark.parametrize("kind", LAYERS)
def test_pooled_vector_and_token_weights_ignore_padding(kind: str) -> None:
    layer = drawn(kind)
    vector, weights = pooled(layer, STATES, MASK)
    junk = np.where(MASK[..., None], STATES, 1e3).astype("float32")
    for one, other in zip(pooled(layer, junk, MASK), (vector, weights), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert (weights >= 0).all()
    assert (weights[~MASK] == 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), MASK.any(axis=1), atol=1e-5)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_text_of_padding_gives_zeros(kind: str) -> None:
    vector, weights = pooled(drawn(kind), STATES, MASK)
    assert (vector[3] == 0).all()
    assert (weights[3] == 0).all()
    assert np.isfinite(vector).all()


@pytest.mark.parametrize("kind", LAYERS)
def test_the_side_of_the_padding_does_not_matter(kind: str) -> None:
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
    keys = np.repeat(keys, len(queries) // len(keys), axis=0)  # shared by query heads in group query attention
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


def test_the_second_input_is_the_value_and_the_third_the_key() -> None:
    query, value, key = STATES, STATES + 1, STATES[:, ::-1]
    output, weights = keras.layers.Attention()([query, value, key], return_attention_scores=True)
    expected = reference.softmax(query @ key.swapaxes(1, 2))
    np.testing.assert_allclose(to_numpy(weights), expected, atol=1e-5)
    np.testing.assert_allclose(to_numpy(output), expected @ value, atol=1e-5)


@pytest.mark.parametrize("kind", ["attention", "additive"])
def test_a_text_of_padding_has_weights_but_no_output(kind: str) -> None:
    """The masked pooling gives these rows no coefficient."""
    layer = keras.layers.Attention() if kind == "attention" else keras.layers.AdditiveAttention()
    output, weights = attended(layer, ops.zeros((1, 5, 4)), ops.zeros((1, 5), "bool"))
    np.testing.assert_allclose(to_numpy(weights), 0.2, atol=1e-6)
    assert (to_numpy(output) == 0).all()


def test_a_padded_query_has_no_output_but_weights_that_sum_to_one() -> None:
    """So the mean over all rows of the map is not the weight per token."""
    output, weights = attended(keras.layers.Attention(), ops.convert_to_tensor(STATES), ops.convert_to_tensor(MASK))
    assert (to_numpy(output)[1, 3:] == 0).all()
    np.testing.assert_allclose(to_numpy(weights)[1].sum(axis=-1), 1, atol=1e-6)
    _, ours = pooled(keras.layers.Attention(), STATES, MASK)
    assert np.abs(to_numpy(weights)[1].mean(axis=0) - ours[1]).max() > 0.01


@pytest.mark.parametrize("kind", ["multi_head", "group_query"])
def test_a_value_mask_hides_keys_but_not_padded_queries(kind: str) -> None:
    _, weights = attended(drawn(kind), ops.convert_to_tensor(STATES), ops.convert_to_tensor(MASK))
    assert (to_numpy(weights)[1, :, :, 3:] == 0).all()
    np.testing.assert_allclose(to_numpy(weights)[1, :, 3:].sum(axis=-1), 1, atol=1e-5)


@pytest.mark.filterwarnings(WITHOUT_MASKING)
@pytest.mark.parametrize("kind", ["multi_head", "group_query"])
def test_requesting_scores_changes_padded_rows_only(kind: str) -> None:
    """Keras computes scores on another path, which agrees only on real rows."""
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
def test_requesting_scores_changes_a_text_of_padding(kind: str) -> None:
    layer, states, mask = drawn(kind), ops.convert_to_tensor(STATES), ops.convert_to_tensor(MASK)
    explicit, weights = attended(layer, states, mask)
    fused = attended(layer, states, mask, scores=False)
    assert (to_numpy(weights)[3] == 0).all()
    assert np.abs(to_numpy(explicit)[3] - to_numpy(fused)[3]).max() > 0.01
    for output in (explicit, fused):
        assert (to_numpy(MaskedPooling()(output, mask=MASK))[3] == 0).all()


def test_group_query_attention_warns_about_masks() -> None:
    def states() -> Any:
        return keras.layers.Embedding(5, 4, mask_zero=True)(np.array([[1, 2, 0]]))

    keras.layers.MultiHeadAttention(2, 3)(states(), states())
    layer = keras.layers.GroupQueryAttention(3, 4, 2)
    with pytest.warns(UserWarning, match="does not support masking") as told:
        layer(states(), states())
    assert len(told) == 3
