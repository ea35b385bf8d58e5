"""Faults of the published `SelfAttentionLayer`, meant as a Transformer block, that ours does not have."""

import inspect
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from models.layers import MaskedPooling, TransformerBlock
from tests.layer_checks import to_numpy

WIDTH, HEADS, SIZE = 128, 8, 64
STATES = np.random.default_rng(7).normal(size=(2, 5, WIDTH)).astype("float32")
# TensorFlow's errors for shapes that do not fit.
DOES_NOT_FIT = r"ncompatible shapes|evenly divide|requested shape|requires a multiple"


class SelfAttentionLayer(keras.layers.Layer):
    """As published, with indentation restored and `keras.ops` for `tf`."""

    def __init__(self, num_heads: int = HEADS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.dense_proj = keras.layers.Dense(units=num_heads * 64)
        self.attention_layer = keras.layers.MultiHeadAttention(num_heads=num_heads, key_dim=64)
        self.layernorm_1 = keras.layers.LayerNormalization(epsilon=1e-6)
        self.layernorm_2 = keras.layers.LayerNormalization(epsilon=1e-6)
        self.dense_output = keras.layers.Dense(units=kwargs["units"] if "units" in kwargs else num_heads * 64)

    def call(self, inputs: Any) -> Any:
        query, value, key = ops.split(inputs, 3, axis=-1)
        attention_weights = self.attention_layer(query, key, value)
        out, _ = self.attention_layer(query, key, value, attention_weights=attention_weights)
        out = ops.reshape(out, [-1, out.shape, self.num_heads, 64])
        out = ops.transpose(out, [0, 2, 1, 3])
        out = self.layernorm_1(inputs + self.dense_proj(out))
        return self.layernorm_2(out + self.dense_output(out))


@pytest.fixture
def published() -> SelfAttentionLayer:
    keras.utils.set_random_seed(0)
    return SelfAttentionLayer()


@pytest.fixture
def ours() -> TransformerBlock:
    keras.utils.set_random_seed(0)
    return TransformerBlock(HEADS, key_dim=SIZE)


def test_1_published_units_are_an_error_and_ours_keeps_the_input_width(
    ours: TransformerBlock,
) -> None:
    with pytest.raises(ValueError, match=r"Unrecognized keyword arguments.*units"):
        SelfAttentionLayer(units=WIDTH)
    assert ours(STATES).shape == STATES.shape


def test_2_the_published_width_cannot_be_set_or_saved_and_ours_can(published: SelfAttentionLayer) -> None:
    assert "units" not in published.get_config()
    assert published.dense_output.units == HEADS * SIZE  # whatever was given
    block = TransformerBlock(HEADS, SIZE, ff_dim=7)
    assert TransformerBlock.from_config(block.get_config()).get_config() == block.get_config()


def test_3_published_projections_read_a_third_of_the_input_and_ours_all(
    published: SelfAttentionLayer, ours: TransformerBlock
) -> None:
    with pytest.raises(Exception, match=DOES_NOT_FIT):
        published(STATES)
    other = STATES.copy()
    other[:, 0, -1] += 5  # a feature that no published query reads
    query, _, _ = ops.split(other[..., :126], 3, axis=-1)
    np.testing.assert_array_equal(to_numpy(query), STATES[..., :42])
    before, after = (to_numpy(ours(each, return_attention_scores=True)[1]) for each in (STATES, other))
    assert np.abs(before - after)[:, :, 0].max() > 1e-3


def test_4_published_keys_and_values_are_swapped_and_ours_are_not(
    published: SelfAttentionLayer, ours: TransformerBlock
) -> None:
    query, value, key = STATES, STATES[:, ::-1] + 1, STATES - 1
    swapped = to_numpy(published.attention_layer(query, key, value))
    meant = to_numpy(published.attention_layer(query, value=value, key=key))
    assert np.abs(swapped - meant).max() > 0.1
    output, maps = (to_numpy(each) for each in ours(STATES, return_attention_scores=True))
    ours.value.kernel.assign(-ours.value.kernel.value)
    changed, same = (to_numpy(each) for each in ours(STATES, return_attention_scores=True))
    assert np.abs(changed - output).max() > 0.1
    np.testing.assert_array_equal(same, maps)


def test_5_the_published_weights_are_the_output_and_ours_are_weights(
    published: SelfAttentionLayer, ours: TransformerBlock
) -> None:
    attention_weights = published.attention_layer(STATES, STATES, STATES)
    assert attention_weights.shape == STATES.shape
    _, maps = ours(STATES, return_attention_scores=True)
    assert maps.shape == (2, HEADS, 5, 5)
    np.testing.assert_allclose(to_numpy(maps).sum(axis=-1), 1, atol=1e-5)


def test_6_the_published_second_call_fails_and_ours_returns_output_and_maps(
    published: SelfAttentionLayer, ours: TransformerBlock
) -> None:
    with pytest.raises(TypeError, match="attention_weights"):
        published.attention_layer(STATES, STATES, STATES, attention_weights=STATES)
    output, _ = ours(STATES, return_attention_scores=True)
    np.testing.assert_array_equal(to_numpy(output), to_numpy(ours(STATES)))


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_7_the_published_output_is_unpacked_along_the_batch_and_ours_is_not(
    published: SelfAttentionLayer, ours: TransformerBlock, batch: int
) -> None:
    states = np.repeat(STATES[:1], batch, axis=0)
    if batch == 2:
        out, _ = published.attention_layer(states, states)
        assert out.shape == (5, WIDTH)  # the first text; the second is lost
    else:
        with pytest.raises(ValueError, match="values to unpack"):
            out, _ = published.attention_layer(states, states)
    assert ours(states).shape == states.shape


def test_8_the_published_reshape_fails_and_ours_takes_any_number_of_tokens(
    published: SelfAttentionLayer, ours: TransformerBlock
) -> None:
    out = published.attention_layer(STATES, STATES)
    with pytest.raises((TypeError, ValueError)):
        ops.reshape(out, [-1, out.shape, HEADS, SIZE])
    with pytest.raises(Exception, match=DOES_NOT_FIT):  # there are no heads left to split
        ops.reshape(out, [2, out.shape[1], HEADS, SIZE])
    for tokens in (1, 3, 5):
        assert ours(STATES[:, :tokens]).shape == (2, tokens, WIDTH)


def test_9_the_published_heads_are_never_merged_and_ours_are(
    published: SelfAttentionLayer, ours: TransformerBlock
) -> None:
    heads = np.zeros((2, HEADS, 5, SIZE), "float32")
    with pytest.raises(Exception, match=DOES_NOT_FIT):
        ops.add(STATES, published.dense_proj(heads))
    assert ours(STATES).shape == STATES.shape
    assert ours.attention_output.kernel.shape == (HEADS * SIZE, WIDTH)


def test_10_the_published_projection_does_not_fit_the_residual_and_ours_does(
    published: SelfAttentionLayer, ours: TransformerBlock
) -> None:
    with pytest.raises(Exception, match=DOES_NOT_FIT):
        ops.add(STATES, published.dense_proj(STATES))
    assert HEADS * SIZE != WIDTH
    assert ours(STATES).shape == STATES.shape


def test_11_the_published_feed_forward_is_linear_and_ours_is_not(
    published: SelfAttentionLayer, ours: TransformerBlock
) -> None:
    out = np.repeat(STATES, 4, axis=-1)  # the width of dense_proj
    with pytest.raises(Exception, match=DOES_NOT_FIT):
        ops.add(out, keras.layers.Dense(WIDTH)(out))
    outputs = [to_numpy(published.dense_output(each)) for each in (out, -out)]
    np.testing.assert_allclose(outputs[0], -outputs[1], atol=1e-5)
    ours(STATES)
    outputs = [to_numpy(ours.feed_forward_output(ours.feed_forward(each))) for each in (STATES, -STATES)]
    assert np.abs(outputs[0] + outputs[1]).max() > 0.1


def test_12_the_published_layer_has_no_mask_or_dropout_and_ours_has(ours: TransformerBlock) -> None:
    assert set(inspect.signature(SelfAttentionLayer.call).parameters) == {"self", "inputs"}
    mask = np.array([[True] * 3 + [False] * 2] * 2)
    alone, padded = (to_numpy(each) for each in (ours(STATES[:, :3]), ours(STATES, mask=mask)))
    np.testing.assert_allclose(padded[:, :3], alone, atol=1e-5)
    assert np.abs(to_numpy(ours(STATES))[:, :3] - alone).max() > 1e-3
    dropping = TransformerBlock(HEADS, dropout=0.5)
    assert np.abs(to_numpy(dropping(STATES, training=True)) - to_numpy(dropping(STATES))).max() > 0.1


def test_13_flattening_an_unknown_length_fails_and_pooling_works(ours: TransformerBlock) -> None:
    inputs = keras.Input((None, WIDTH))  # the published length of 128 is the width
    flat = keras.layers.Flatten()(inputs)
    assert flat.shape == (None, None)
    with pytest.raises(ValueError, match="fully-defined"):
        keras.layers.Dense(1)(flat)
    model = keras.Model(inputs, keras.layers.Dense(1)(MaskedPooling()(ours(inputs))))
    for tokens in (1, 5):
        assert model(STATES[:, :tokens]).shape == (2, 1)


def test_14_the_published_example_input_is_invalid(
    ours: TransformerBlock,
) -> None:
    input_shape = (None, WIDTH)
    with pytest.raises((TypeError, ValueError)):
        keras.random.uniform((1, input_shape, input_shape))
    assert ours(keras.random.uniform((1, 9, WIDTH))).shape == (1, 9, WIDTH)


def test_15_the_published_code_does_not_compile_and_keras_has_no_transformer() -> None:
    with pytest.raises(IndentationError):
        compile("class SelfAttentionLayer(Layer):\ndef __init__(self):\nsuper().__init__()\n", "published", "exec")
    shipped = [*dir(keras.applications), *dir(keras.layers)]
    assert not [name for name in shipped if any(part in name.lower() for part in ("transformer", "bert", "gpt"))]


def test_the_second_published_snippet_does_not_run(
    ours: TransformerBlock,
) -> None:
    texts, others = keras.Input((10, 20)), keras.Input((30,))
    last = keras.layers.LSTM(32)(texts)  # only the last state: no positions remain to attend to
    broken = keras.Model([texts, others], keras.layers.Dense(1)(keras.layers.Attention()([last, others])))
    with pytest.raises(Exception, match="ncompatible"):
        broken([np.ones((2, 10, 20), "float32"), np.ones((2, 30), "float32")])
    states = keras.layers.LSTM(WIDTH, return_sequences=True)(texts)
    model = keras.Model(texts, keras.layers.Dense(1)(MaskedPooling()(ours(states))))
    assert model(np.ones((2, 10, 20), "float32")).shape == (2, 1)
