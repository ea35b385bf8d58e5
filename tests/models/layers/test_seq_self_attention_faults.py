"""Faults of SeqSelfAttention in keras-self-attention 0.51.0 that our layer does not have."""

from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from models.layers import PaddingMask, SeqSelfAttention
from tests.layer_checks import gradients, to_numpy
from tests.models import numpy_reference as reference

GENERATOR = np.random.default_rng(7)
REAL = GENERATOR.normal(size=(5, 3)).astype("float32")
PADDED = np.concatenate([REAL, np.full((3, 3), 0.5, "float32")])
MASK = np.array([True] * 5 + [False] * 3)


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    keras.utils.set_random_seed(1)


def learned(layer: SeqSelfAttention) -> list[np.ndarray]:
    return [weight.astype("float64") for weight in layer.get_weights()]


def ours(layer: SeqSelfAttention, states: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Compute the map of one text."""
    given = None if mask is None else ops.array(mask[None])
    _, scores = layer(ops.array(states[None]), mask=given, return_attention_scores=True)
    return to_numpy(scores)[0]


def penalty_as_published(weights: np.ndarray) -> float:
    """||A A^T - I||^2 over all rows of a map."""
    return float(((weights @ weights.T - np.eye(len(weights))) ** 2).sum())


def regularizer(weights: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Our penalty for a given map, from a layer whose softmax gives that map."""
    layer = SeqSelfAttention(
        attention_type="multiplicative", attention_regularizer_weight=1.0, use_attention_bias=False
    )
    layer.build((None, None, len(weights)))
    # With x = I the scores are W_a, and the softmax of log(weights) is weights.
    layer.set_weights([np.log(weights + 1e-30).astype("float32")])
    ours(layer, np.eye(len(weights), dtype="float32"), mask)
    return float(to_numpy(layer.losses[0]))


# --- masks ---


def test_published_attends_to_padded_keys_and_ours_does_not() -> None:
    layer = SeqSelfAttention(4)
    received = ours(layer, PADDED, MASK)
    scores = reference.additive_scores(PADDED.astype("float64"), *learned(layer))
    published = reference.seq_self_attention_as_published(scores, MASK)
    assert published[:5, 5:].sum(axis=1).min() > 0.05
    assert (received[:5, 5:] == 0).all()
    # Without padding both agree, and mask_mode="upstream" gives the published map.
    unpadded = reference.seq_self_attention_as_published(scores[:5, :5], MASK[:5])
    np.testing.assert_allclose(received[:5, :5], unpadded, atol=1e-6)
    upstream = SeqSelfAttention.from_config(layer.get_config() | {"mask_mode": "upstream"})
    upstream.build((None, None, 3))
    upstream.set_weights(layer.get_weights())
    np.testing.assert_allclose(ours(upstream, PADDED, MASK), published, atol=1e-3)  # float32 beside a penalty of 1e4


def test_published_padded_queries_attend_to_real_keys_and_ours_give_zeros() -> None:
    """A narrow window penalises padded queries on their only keys as much as on hidden ones."""
    layer = SeqSelfAttention(4, attention_width=1)
    received = ours(layer, PADDED, MASK)
    scores = reference.additive_scores(PADDED.astype("float64"), *learned(layer))
    windowed = scores - 10000.0 * ~np.eye(8, dtype=bool)
    published = reference.seq_self_attention_as_published(windowed, MASK)
    assert published[5:, :5].sum(axis=1).min() > 0.5
    assert (received[5:] == 0).all()


# --- scores ---


@pytest.mark.parametrize("attention_type", ["additive", "multiplicative"])
def test_the_attention_bias_has_no_effect_without_an_activation(attention_type: Any) -> None:
    for activation, seen in ((None, False), ("tanh", True)):
        layer = SeqSelfAttention(4, attention_type=attention_type, attention_activation=activation)
        before = ours(layer, REAL)
        layer.attention_bias.assign([1.0])
        assert bool(np.abs(ours(layer, REAL) - before).max() > 1e-3) is seen
        *_, gradient = gradients(layer, partial(layer, ops.array(REAL[None])))
        assert bool(np.abs(gradient).max() > 1e-4) is seen
    without = SeqSelfAttention(4, attention_type=attention_type, use_attention_bias=False)
    without.build((None, None, 3))
    assert "attention_bias" not in {weight.name for weight in without.weights}


def test_a_sigmoid_limits_the_ratio_of_weights_to_e_without_a_scale() -> None:
    states = np.array([[1], [-1]], "float32")
    for scale, ratio in ((None, np.e), (0.25, np.exp(4))):
        layer = SeqSelfAttention(attention_type="multiplicative", attention_activation="sigmoid", scale=scale)
        layer.build((None, None, 1))
        layer.set_weights([np.array([[1000.0]]), np.zeros(1)])  # the largest possible difference of scores
        row = ours(layer, states)[0]
        np.testing.assert_allclose(row[0] / row[1], ratio, rtol=1e-5)
    # At 400 tokens no weight exceeds 0.0068; uniform ones are 0.0025.
    assert np.e / (np.e + 399) < 0.0068


@pytest.mark.parametrize("initializer", ["glorot_normal", keras.initializers.RandomNormal()])
def test_published_kernels_start_equal_and_ours_do_not(initializer: Any) -> None:
    shared = keras.initializers.get(initializer)
    np.testing.assert_array_equal(to_numpy(shared((3, 4))), to_numpy(shared((3, 4))))
    layer = SeqSelfAttention(4, kernel_initializer=initializer, bias_initializer=keras.initializers.RandomNormal())
    layer.build((None, None, 3))
    assert not np.array_equal(to_numpy(layer.query_kernel), to_numpy(layer.key_kernel))


def test_multiplicative_scores_of_wide_inputs_saturate_without_a_scale() -> None:
    states = GENERATOR.normal(size=(20, 400)).astype("float32")
    for scale, saturates in ((None, True), (np.sqrt(400), False)):
        layer = SeqSelfAttention(attention_type="multiplicative", scale=scale)
        assert bool(np.median(ours(layer, states).max(axis=1)) > 0.9) is saturates


# --- the regulariser ---


def test_the_published_penalty_grows_with_the_text_and_ours_does_not() -> None:
    for tokens in (40, 400):
        uniform = np.full((tokens, tokens), 1 / tokens)
        assert abs(penalty_as_published(uniform) - (tokens - 1)) < 1e-6  # a plausible sentiment map
        np.testing.assert_allclose(regularizer(uniform), (tokens - 1) / tokens, rtol=1e-4)
    assert penalty_as_published(np.eye(40)) == 0  # each token attends to itself
    assert regularizer(np.eye(40)) < 1e-6


@pytest.mark.parametrize("width", [None, 3])
def test_the_published_penalty_depends_on_padding_and_ours_does_not(width: int | None) -> None:
    layer = SeqSelfAttention(4, width, attention_regularizer_weight=0.25)
    alone, alone_loss = ours(layer, REAL), float(to_numpy(layer.losses[0]))
    ours(layer, PADDED, MASK)
    np.testing.assert_allclose(float(to_numpy(layer.losses[0])), alone_loss, rtol=1e-5)
    np.testing.assert_allclose(alone_loss, 0.25 * penalty_as_published(alone) / 5, rtol=1e-5)
    scores = reference.additive_scores(PADDED.astype("float64"), *learned(layer))
    published = [penalty_as_published(reference.seq_self_attention_as_published(scores, MASK)), 5 * alone_loss / 0.25]
    assert abs(published[0] - published[1]) > 0.5


@pytest.mark.parametrize("width", [None, 3])
def test_the_penalty_weights_texts_of_any_length_equally(width: int | None) -> None:
    layer = SeqSelfAttention(4, width, attention_regularizer_weight=1.0)
    texts = [REAL, REAL[:2]]
    alone = []
    for text in texts:
        ours(layer, text)
        alone.append(float(to_numpy(layer.losses[0])))
    empty = np.zeros((5, 3), "float32")
    batch = np.stack([REAL, np.concatenate([REAL[:2], REAL[:3] * 9]), empty])
    layer(batch, mask=np.array([[True] * 5, [True] * 2 + [False] * 3, [False] * 5]))
    np.testing.assert_allclose(float(to_numpy(layer.losses[0])), sum(alone) / 3, rtol=1e-5)


@pytest.mark.parametrize("width", [None, 3])
def test_the_penalty_has_a_gradient_for_every_kernel(width: int | None) -> None:
    layer = SeqSelfAttention(4, width, attention_regularizer_weight=1.0)
    layer.build((None, None, 3))

    def loss() -> Any:
        layer(ops.array(REAL[None]))
        return layer.losses[0]

    names = {"query_kernel", "key_kernel", "score_kernel"}
    found = {
        weight.name: np.abs(gradient).max()
        for weight, gradient in zip(layer.trainable_weights, gradients(layer, loss), strict=True)
    }
    assert all(found[name] > 1e-4 for name in names), found


# --- configs and files ---


def test_the_published_unlimited_width_becomes_none() -> None:
    config = SeqSelfAttention(history_only=True).get_config()
    assert config["attention_width"] is None
    published = config | {"attention_width": 1_000_000_000}  # as saved by keras-self-attention
    again = SeqSelfAttention.from_config(published)
    assert again.get_config() == config
    assert ours(again, REAL)[0].tolist() == [1, 0, 0, 0, 0]


@pytest.mark.parametrize("width", [0, -1])
def test_a_width_below_one_is_an_error_and_published_sees_nothing(width: int) -> None:
    lower = np.arange(5)[:, None] - width // 2
    keys = np.arange(5)[None, :]
    assert not (
        (lower <= keys) & (keys < lower + width)
    ).any()  # all scores are penalised equally, so all keys are visible
    with pytest.raises(ValueError, match=r"Expected an attention_width of at least 1, or None. Received"):
        SeqSelfAttention(attention_width=width)


def test_weight_names_do_not_depend_on_the_layer_name() -> None:
    names = []
    for name in ("first", "second"):
        layer = SeqSelfAttention(4, name=name)
        layer.build((None, None, 3))
        names.append([weight.name for weight in layer.weights])
    assert names[0] == names[1] == ["query_kernel", "key_kernel", "additive_bias", "score_kernel", "attention_bias"]


def test_an_h5_file_loads_with_a_mask_layer_and_not_with_an_embedding_mask(
    tmp_path: Path,
) -> None:
    ids = keras.Input((None,), dtype="int32")
    published = keras.Model(ids, SeqSelfAttention(4)(keras.layers.Embedding(9, 3, mask_zero=True)(ids)))
    states = keras.layers.Embedding(9, 3)(ids)
    model = keras.Model(ids, SeqSelfAttention(4)(states, mask=PaddingMask()(ids)))
    for each, file in ((published, tmp_path / "published.h5"), (model, tmp_path / "ours.h5")):
        each.save(file)
    objects = SeqSelfAttention.get_custom_objects()
    with pytest.raises(ValueError, match="NotEqual"):
        keras.models.load_model(tmp_path / "published.h5", custom_objects=objects)
    again = keras.models.load_model(tmp_path / "ours.h5", custom_objects=objects)
    texts = ops.array([[1, 2, 0, 0], [3, 4, 5, 6]])
    np.testing.assert_array_equal(to_numpy(again(texts)), to_numpy(model(texts)))
