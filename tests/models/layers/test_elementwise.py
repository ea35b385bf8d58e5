"""Self-attention by gains: the harness, its equation, and the faults of the published layer."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from models.layers import CUSTOM_OBJECTS, ElementwiseSelfAttention, ScaledDotProductSelfAttention
from tests.layer_checks import Case, check_case, to_numpy
from tests.models import numpy_reference as reference
from tests.models.heads_reference import check_padding

GENERATOR = np.random.default_rng(7)
STATES = GENERATOR.normal(size=(5, 5, 3)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 1, 0, 1, 1], [0, 0, 0, 0, 0]], "bool")

CASES = {
    "shared": Case(ElementwiseSelfAttention, {}, (STATES,), {"mask": MASK}),
    "shared_with_values": Case(
        ElementwiseSelfAttention, {}, (STATES,), {"mask": MASK, "call_arguments": {"return_values": True}}
    ),
    "by_position": Case(ElementwiseSelfAttention, {"max_length": 5}, (STATES,), {"mask": MASK}),
    "of_every_option": Case(
        ElementwiseSelfAttention,
        {
            "max_length": 7,
            "scale": 0.7,
            "gain_initializer": keras.initializers.RandomNormal(stddev=0.1),
            "gain_regularizer": keras.regularizers.L2(0.1),
            "gain_constraint": keras.constraints.MaxNorm(3),
        },
        (STATES,),
        {"mask": MASK, "call_arguments": {"return_values": True}},
    ),
}


class MyAttention(keras.layers.Layer):
    """The published layer, with keras.ops for TensorFlow 2."""

    def __init__(self, out_dim: int, key_size: int = 8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.out_dim = out_dim
        self.key_size = key_size

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        tokens = 1 if input_shape[1] is None else input_shape[1]
        shape = (tokens, self.out_dim)
        self.qw = self.add_weight(name="qw", shape=shape, initializer="glorot_uniform")
        self.kw = self.add_weight(name="kw", shape=shape, initializer="glorot_uniform")
        self.vw = self.add_weight(name="vw", shape=shape, initializer="glorot_uniform")

    def call(self, inputs: Any) -> Any:
        batch, tokens, _ = ops.shape(inputs)
        queries = inputs * self.qw
        keys = ops.transpose(inputs * self.kw, (0, 2, 1))
        values = ops.tile(inputs * self.vw, (1, tokens, 1))
        values = ops.reshape(values, (batch, tokens, tokens, self.out_dim))
        weights = ops.softmax(ops.matmul(queries, keys) / np.sqrt(self.key_size))
        return ops.sum(values * ops.expand_dims(weights, -1), axis=2)


def with_gains(layer: keras.layers.Layer, states: np.ndarray, *gains: np.ndarray) -> keras.layers.Layer:
    layer.build((None, *states.shape[1:]))
    layer.set_weights([np.asarray(gain, "float32").reshape(-1, states.shape[-1]) for gain in gains])
    return layer


def unit_states(tokens: int, features: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(1, tokens, features)).astype("float32")


@pytest.mark.parametrize("case", CASES)
def test_layer_passes_the_harness(case: str, tmp_path: Path) -> None:
    check_case(CASES[case], tmp_path)


# --- numbers by hand, and the equation ---


def test_elementwise_self_attention_by_hand() -> None:
    # Scores are 2 * (ln 3 / 2) * x_t * x_t' = ln 3 where both are 1, and 0 otherwise; values are 10 x.
    states, mask = np.array([[[1], [0], [9]]], "float32"), np.array([[1, 1, 0]], bool)
    layer = with_gains(ElementwiseSelfAttention(scale=1.0), states, [2], [np.log(3) / 2], [10])
    context, scores, values = layer(states, mask=mask, return_attention_scores=True, return_values=True)
    np.testing.assert_allclose(to_numpy(scores), [[[0.75, 0.25, 0], [0.5, 0.5, 0], [0, 0, 0]]], atol=1e-6)
    np.testing.assert_allclose(to_numpy(values), [[[10], [0], [0]]])
    np.testing.assert_allclose(to_numpy(context), [[[7.5], [5], [0]]], rtol=1e-6)
    context, values = layer(states, mask=mask, return_values=True)
    np.testing.assert_allclose(to_numpy(context), [[[7.5], [5], [0]]], rtol=1e-6)
    np.testing.assert_allclose(to_numpy(values), [[[10], [0], [0]]])


@pytest.mark.parametrize("max_length", [None, 3, 5])
@pytest.mark.parametrize("scale", [None, 0.7])
def test_elementwise_self_attention_is_its_equation(max_length: int | None, scale: float | None) -> None:
    layer = ElementwiseSelfAttention(max_length, scale, gain_initializer="random_normal")
    context, scores = layer(STATES, mask=MASK, return_attention_scores=True)
    query_gain, key_gain, value_gain = (to_numpy(weight).astype("float64") for weight in layer.weights)
    for row, (states, mask) in enumerate(zip(STATES.astype("float64"), MASK, strict=True)):
        expected = np.zeros((5, 5))
        values = np.zeros((5, 3))
        rank = -1  # of the token among real ones
        at = np.zeros(5, int)  # its row of the gains
        for t in range(5):
            rank += mask[t]
            at[t] = 0 if max_length is None else np.clip(rank, 0, max_length - 1)
            values[t] = states[t] * value_gain[at[t]]
        for t in range(5):
            for s in range(5):
                expected[t, s] = (states[t] * query_gain[at[t]]) @ (states[s] * key_gain[at[s]])
        expected = reference.real_softmax(expected / (np.sqrt(3) if scale is None else scale), reference.pairs(mask))
        np.testing.assert_allclose(to_numpy(scores)[row], expected, atol=1e-6)
        np.testing.assert_allclose(to_numpy(context)[row], expected @ values, atol=1e-6)


def test_gains_of_one_are_scaled_dot_product_self_attention() -> None:
    ours, parameter_free = ElementwiseSelfAttention(), ScaledDotProductSelfAttention()
    np.testing.assert_array_equal(to_numpy(ours(STATES, mask=MASK)), to_numpy(parameter_free(STATES, mask=MASK)))


def test_each_gain_is_a_diagonal_matrix() -> None:
    """Three gains of D numbers replace the three D x D matrices of self-attention."""
    layer = ElementwiseSelfAttention(gain_initializer="random_normal")
    context = to_numpy(layer(STATES))
    assert layer.count_params() == 3 * 3
    queries, keys, values = (STATES @ np.diag(to_numpy(gain)[0]) for gain in layer.weights)
    weights = reference.softmax(queries @ keys.transpose(0, 2, 1) / np.sqrt(3))
    np.testing.assert_allclose(context, weights @ values, atol=1e-6)


# --- positions ---


def test_tokens_after_max_length_share_the_last_gains() -> None:
    layer = ElementwiseSelfAttention(2, gain_initializer="random_normal")
    longer = ElementwiseSelfAttention(5)
    layer.build((None, None, 3))
    longer.build((None, None, 3))
    longer.set_weights([to_numpy(gain)[[0, 1, 1, 1, 1]] for gain in layer.weights])
    np.testing.assert_allclose(to_numpy(layer(STATES, mask=MASK)), to_numpy(longer(STATES, mask=MASK)), atol=1e-6)


def test_too_many_tokens_without_a_mask_are_an_error() -> None:
    layer = ElementwiseSelfAttention(4)
    with pytest.raises(ValueError, match=r"Expected at most max_length=4 tokens.*Received 5 tokens"):
        layer(STATES)
    with pytest.raises(ValueError, match="Expected at most max_length=4 tokens"):
        layer(keras.Input((5, 3)))
    inputs = keras.Input((None, 3))
    assert keras.Model(inputs, layer(inputs))(STATES[:, :4]).shape == (5, 4, 3)
    assert layer(STATES, mask=MASK).shape == (5, 5, 3)


def test_the_side_of_the_padding_does_not_matter() -> None:
    check_padding(ElementwiseSelfAttention(4, gain_initializer="random_normal"), STATES[:, :3])


# --- faults of the published layer ---


def test_the_published_layer_is_tied_to_one_length_and_ours_is_not() -> None:
    published = MyAttention(3)
    published(STATES)
    with pytest.raises(Exception, match=r"ncompatible shapes|broadcast|must match"):
        published(STATES[:, :4])
    for ours in (ElementwiseSelfAttention(), ElementwiseSelfAttention(5)):
        ours(STATES)
        assert ours(STATES[:, :4]).shape == (5, 4, 3)
        assert ours(STATES[:, :1]).shape == (5, 1, 3)


def test_padding_shifts_the_gains_of_the_published_layer_and_not_ours() -> None:
    """The padding is zeros, so only the gains can make a difference."""
    published = with_gains(MyAttention(3), STATES, *np.random.default_rng(0).normal(size=(3, 5, 3)))
    ours = with_gains(ElementwiseSelfAttention(5), STATES, *published.get_weights())
    text, zeros = STATES[:1, :3], np.zeros((1, 2, 3), "float32")
    right, left = np.concatenate([text, zeros], axis=1), np.concatenate([zeros, text], axis=1)
    assert np.abs(to_numpy(published(right))[:, :3] - to_numpy(published(left))[:, 2:]).max() > 0.1
    real = np.array([[True] * 3 + [False] * 2])
    moved = to_numpy(ours(left, mask=real[:, ::-1]))[:, 2:]
    np.testing.assert_allclose(moved, to_numpy(ours(right, mask=real))[:, :3], atol=1e-6)


def test_an_unknown_length_changes_the_published_weights_and_not_ours() -> None:
    for shape, rows in (((None, 5, 3), 5), ((None, None, 3), 1)):
        published, shared, by_position = MyAttention(3), ElementwiseSelfAttention(), ElementwiseSelfAttention(7)
        for layer in (published, shared, by_position):
            layer.build(shape)
        assert published.qw.shape == (rows, 3)
        assert shared.query_gain.shape == (1, 3)
        assert by_position.query_gain.shape == (7, 3)


def test_the_published_output_width_must_equal_the_input_and_ours_always_does() -> None:
    with pytest.raises(Exception, match=r"ncompatible shapes|broadcast|must match"):
        MyAttention(4)(STATES)
    assert ElementwiseSelfAttention()(STATES).shape == STATES.shape


def test_the_published_scale_saturates_on_wide_states_and_ours_adapts() -> None:
    """Its scores are divided by sqrt(8) for any width."""
    states = unit_states(40, 512)
    published = with_gains(MyAttention(512), states, *np.ones((3, 40, 512)))
    scores_of_others = {}
    for name, layer in {
        "default": ElementwiseSelfAttention(),
        "source": ElementwiseSelfAttention(scale=8**0.5),
    }.items():
        context, scores = layer(states * 0.2, return_attention_scores=True)
        scores_of_others[name] = 1 - to_numpy(scores)[0].diagonal()
    np.testing.assert_allclose(to_numpy(context), to_numpy(published(states * 0.2)), atol=1e-5)
    assert scores_of_others["source"].mean() < 0.05
    assert scores_of_others["default"].mean() > 0.5


def test_the_published_layer_starts_near_zero_and_ours_as_attention() -> None:
    """glorot_uniform takes the tokens for a fan-in, which makes gains and scores small."""
    states = unit_states(80, 128)
    published = MyAttention(128)
    output = to_numpy(published(states))
    plain_mean = states.mean(axis=1, keepdims=True)
    value_gain = to_numpy(published.vw)
    assert output.std() < 0.02
    np.testing.assert_allclose(output, (states * value_gain).mean(axis=1, keepdims=True) + 0 * output, atol=0.01)
    ours = to_numpy(ElementwiseSelfAttention()(states))
    assert ours.std() > 0.5
    assert np.abs(ours - plain_mean).max() > 0.5


def test_the_published_layer_sees_padding_and_ours_does_not() -> None:
    gains = np.random.default_rng(0).normal(size=(3, 1, 3))
    text, padded = STATES[:1, :3], np.concatenate([STATES[:1, :3], np.full((1, 2, 3), 2, "float32")], axis=1)
    published = with_gains(MyAttention(3), np.empty((1, 1, 3)), *gains)
    assert np.abs(to_numpy(published(padded))[:, :3] - to_numpy(published(text))).max() > 0.3
    ours = with_gains(ElementwiseSelfAttention(scale=8**0.5), text, *gains)
    np.testing.assert_allclose(to_numpy(ours(text)), to_numpy(published(text)), atol=1e-6)
    alone = to_numpy(ours(padded, mask=np.array([[True] * 3 + [False] * 2])))
    np.testing.assert_allclose(alone, np.concatenate([to_numpy(ours(text)), np.zeros((1, 2, 3))], axis=1), atol=1e-6)


def test_the_published_layer_drops_the_mask_and_ours_passes_it_on() -> None:
    states = keras.layers.Embedding(5, 3, mask_zero=True)(keras.Input((None,), dtype="int32"))
    with pytest.warns(UserWarning, match="does not support masking"):
        dropped = MyAttention(3)(states)
    assert keras.src.backend.get_keras_mask(dropped) is None
    assert keras.src.backend.get_keras_mask(ElementwiseSelfAttention()(states)) is not None


def test_the_published_layer_cannot_be_reloaded_and_ours_can(tmp_path: Path) -> None:
    for layer in (MyAttention(3), ElementwiseSelfAttention()):
        inputs = keras.Input((5, 3))
        keras.Model(inputs, layer(inputs)).save(tmp_path / f"{type(layer).__name__}.keras")
    with pytest.raises(TypeError, match="Could not locate class 'MyAttention'"):
        keras.saving.load_model(tmp_path / "MyAttention.keras")
    keras.saving.load_model(tmp_path / "ElementwiseSelfAttention.keras", custom_objects=CUSTOM_OBJECTS)


def test_the_published_layer_uses_removed_backend_functions() -> None:
    assert not hasattr(keras.backend, "permute_dimensions")
    assert not hasattr(keras.backend, "softmax")


def test_the_published_regularizer_and_constraint_are_fixed_and_ours_are_arguments() -> None:
    published = MyAttention(3)
    published(STATES)
    assert all(weight.regularizer is None and weight.constraint is None for weight in published.weights)
    ours = ElementwiseSelfAttention(gain_regularizer="l2", gain_constraint="non_neg")
    ours(STATES)
    np.testing.assert_allclose(sum(to_numpy(loss) for loss in ours.losses), 3 * 3 * 0.01, rtol=1e-6)
    assert all(weight.constraint is not None for weight in ours.weights)


def test_the_published_sum_over_copies_equals_a_matrix_product() -> None:
    """The published layer copies the values for every query."""
    published = MyAttention(3)
    copied = to_numpy(published(STATES))
    ours = with_gains(ElementwiseSelfAttention(5, 8**0.5), STATES, *published.get_weights())
    np.testing.assert_allclose(to_numpy(ours(STATES)), copied, atol=1e-6)
