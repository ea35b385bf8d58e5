from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models.layers import AdditiveAttentionPooling, MultiHeadSelfAttention
from tests.layer_checks import Case, check_case, to_numpy
from tests.models import numpy_reference as reference
from tests.models.heads_reference import check_equation, check_padding, float64, one_text

GENERATOR = np.random.default_rng(7)
STATES = GENERATOR.normal(size=(4, 5, 3)).astype("float32")
CONTEXT = GENERATOR.normal(size=(4, 6, 2)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]], "bool")
CONTEXT_MASK = np.array([[1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0]], "bool")
EARLIER = np.tri(5, dtype=bool)

CASES = {
    "multi_head": Case(MultiHeadSelfAttention, {"heads": 2, "size_per_head": 4}, (STATES,), {"mask": MASK}),
    "multi_head_of_every_option": Case(
        MultiHeadSelfAttention,
        {
            "heads": 2,
            "size_per_head": 2,
            "key_size": 3,
            "causal": True,
            "kernel_initializer": "he_normal",
            "kernel_regularizer": keras.regularizers.L2(0.1),
            "kernel_constraint": keras.constraints.MaxNorm(3),
        },
        (STATES,),
        {"mask": MASK, "sees": EARLIER, "call_arguments": {"return_values": True}},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_layer_passes_the_harness(case: str, tmp_path: Path) -> None:
    check_case(CASES[case], tmp_path)


def test_multi_head_by_hand() -> None:
    """One head uses the first feature, the other weights keys equally. softmax(ln 3, 0) is (3/4, 1/4)."""
    layer = MultiHeadSelfAttention(2, 1)
    layer.build((None, None, 2))
    layer.set_weights([np.array(each, "float32") for each in ([[1, 0], [0, 0]], [[1, 0], [0, 0]], [[0, 0], [1, 2]])])
    states = np.array([[[np.sqrt(np.log(3)), 4], [0, 8], [9, 9]]], "float32")
    mask = np.array([[True, True, False]])
    output, maps, values = float64(*layer(states, mask=mask, return_attention_scores=True, return_values=True))
    np.testing.assert_allclose(maps[0, 0], [[0.75, 0.25, 0], [0.5, 0.5, 0], [0, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(maps[0, 1], [[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(values, [[[4, 8], [8, 16], [0, 0]]])
    np.testing.assert_allclose(output, [[[5, 12], [6, 12], [0, 0]]], rtol=1e-6)


@pytest.mark.parametrize("causal", [False, True])
def test_multi_head_is_its_equation(causal: bool) -> None:
    layer = MultiHeadSelfAttention(3, 2, key_size=4, causal=causal)
    check_equation(layer, STATES, MASK, EARLIER if causal else np.ones((5, 5), bool))


def test_multi_head_over_a_context_is_its_equation() -> None:
    layer = MultiHeadSelfAttention(2, 3)
    named = {"context": CONTEXT, "mask": MASK, "context_mask": CONTEXT_MASK}
    given = float64(*layer(STATES, **named, return_attention_scores=True, return_values=True))
    kernels = float64(*layer.get_weights())
    for row in range(4):
        looks = np.logical_and(MASK[row][:, None], CONTEXT_MASK[row][None, :])
        expected = one_text(STATES[row], CONTEXT[row], looks, 2, *kernels)
        expected[2][~CONTEXT_MASK[row]] = 0
        for received, each in zip(given, expected, strict=True):
            np.testing.assert_allclose(received[row], each, atol=1e-6)


def test_an_attention_mask_per_text_is_its_equation() -> None:
    layer = MultiHeadSelfAttention(2, 3)
    looks = GENERATOR.random((4, 5, 5)) < 0.5
    looks[0, 1] = False  # a real query that sees nothing
    output, maps = float64(*layer(STATES, mask=MASK, attention_mask=looks, return_attention_scores=True))
    for row in range(4):
        seen = looks[row] & reference.pairs(MASK[row])
        expected, expected_maps, _ = one_text(STATES[row], STATES[row], seen, 2, *float64(*layer.get_weights()))
        np.testing.assert_allclose(maps[row], expected_maps, atol=1e-6)
        np.testing.assert_allclose(output[row], expected, atol=1e-6)
    assert (maps[0, :, 1] == 0).all()


@pytest.mark.parametrize("causal", [False, True])
def test_the_side_of_the_padding_does_not_matter(causal: bool) -> None:
    check_padding(MultiHeadSelfAttention(2, 4, causal=causal), STATES[:1])


def test_the_mask_of_an_embedding_applies_beside_an_attention_mask() -> None:
    """Keras passes the mask of the input only if there is no second tensor."""
    ids, looks = keras.Input((None,), dtype="int32"), keras.Input((None, None), dtype="bool")
    embedded = keras.layers.Embedding(5, 3, mask_zero=True)(ids)
    attended = MultiHeadSelfAttention(2, 2)(embedded, attention_mask=looks)
    model = keras.Model([ids, looks], AdditiveAttentionPooling(2)(attended))
    padded = to_numpy(model([np.array([[1, 2, 0, 0]]), np.ones((1, 4, 4), bool)]))
    alone = to_numpy(model([np.array([[1, 2]]), np.ones((1, 2, 2), bool)]))
    np.testing.assert_allclose(padded, alone, atol=1e-6)


# --- faults of the sources ---


def test_a_missing_published_mask_makes_the_map_uniform_and_ours_does_not() -> None:
    """The guard `mask_right is not False or mask_right is not None` is always true: 1e10 is subtracted everywhere."""
    scores = np.array([1.2, 1.4, 1.3, -4.0, 0.9], "float32")
    published = reference.softmax(scores - np.float32(1 - 0) * np.float32(1e10))
    np.testing.assert_allclose(published, np.full(5, 0.2))  # float32 has nothing between 1e10 and 1e10 + 1024

    layer = MultiHeadSelfAttention(1, 1)
    layer.build((None, None, 1))
    layer.set_weights([np.ones((1, 1), "float32")] * 3)
    states = np.concatenate([[1.0], scores])[None, :, None].astype(
        "float32"
    )  # the first query is 1: scores as they are
    _, maps = float64(*layer(states, return_attention_scores=True))
    np.testing.assert_allclose(maps[0, 0, 0], reference.softmax(states[0, :, 0].astype("float64")), atol=1e-6)


def test_published_lengths_allow_padding_only_on_the_right_and_our_mask_anywhere() -> None:
    real = STATES[:1, :2]
    left = np.concatenate([np.full((1, 3, 3), 5, "float32"), real], axis=1)  # as pad_sequences pads by default
    layer = MultiHeadSelfAttention(2, 2)
    by_length = to_numpy(layer(left, mask=np.arange(5)[None] < 2))  # length 2, published: the first two are the words
    assert np.abs(by_length[:, 3:] - to_numpy(layer(real))).max() > 0.1
    mask = np.array([[False, False, False, True, True]])
    np.testing.assert_allclose(to_numpy(layer(left, mask=mask))[:, 3:], to_numpy(layer(real)), atol=1e-6)


def test_the_first_published_form_lacks_the_scale_and_ours_has_it() -> None:
    layer = MultiHeadSelfAttention(1, 4)
    _, maps = float64(*layer(STATES, return_attention_scores=True))
    query_kernel, key_kernel, _ = float64(*layer.get_weights())
    scores = (STATES[0] @ query_kernel) @ (STATES[0] @ key_kernel).T
    assert np.abs(maps[0, 0] - reference.softmax(scores)).max() > 0.01
    np.testing.assert_allclose(maps[0, 0], reference.softmax(scores / 2), atol=1e-6)


@pytest.mark.parametrize("initializer", ["glorot_uniform", keras.initializers.RandomNormal()])
def test_query_key_and_value_kernels_start_different(initializer: Any) -> None:
    layer = MultiHeadSelfAttention(2, 4, kernel_initializer=initializer)
    layer.build((None, None, 3))
    query, key, value = layer.get_weights()
    assert not np.array_equal(query, key)
    assert not np.array_equal(key, value)
