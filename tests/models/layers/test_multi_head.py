from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from models.layers import (
    AdditiveAttentionPooling,
    LocalSelfAttention,
    MaskedConvolution,
    MultiHead,
    ScaledDotProductSelfAttention,
    SeqSelfAttention,
)
from tests.layer_checks import Case, check_case, gradients, to_numpy
from tests.models.heads_reference import check_padding

GENERATOR = np.random.default_rng(7)
STATES = GENERATOR.normal(size=(4, 5, 3)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]], "bool")
OFFSETS = np.subtract.outer(np.arange(5), np.arange(5))  # query - key


def bilinear(**arguments: Any) -> SeqSelfAttention:
    return SeqSelfAttention(attention_type="multiplicative", use_attention_bias=False, **arguments)


CASES = {
    "multi_head_of_seq": Case(MultiHead, {"layer": bilinear(), "heads": 2}, (STATES,), {"mask": MASK}),
    "multi_head_of_seq_of_every_option": Case(
        MultiHead,
        {
            "layer": bilinear(kernel_initializer=keras.initializers.RandomNormal(seed=3)),
            "heads": 3,
            "hidden_dim": 2,
            "use_bias": False,
            "reg_index": [0, 0],
            "reg_slice": [(slice(0, 1), slice(None)), None],
            "reg_factor": [0.1, 0.2],
            "stack": True,
            "kernel_initializer": "random_uniform",
        },
        (STATES,),
        {"mask": MASK},
    ),
    "multi_head_of_a_narrower_dot_product": Case(
        MultiHead,
        {"layer": ScaledDotProductSelfAttention(), "heads": 2, "hidden_dim": 2},
        (STATES,),
        {"mask": MASK, "call_arguments": {"return_values": True}},
    ),
    "multi_head_of_local_heads": Case(
        MultiHead,
        {"layer": LocalSelfAttention(2, 1), "heads": 2},
        (STATES,),
        {"mask": MASK, "sees": np.abs(OFFSETS) < 2, "call_arguments": {"return_values": True}},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_layer_passes_the_harness(case: str, tmp_path: Path) -> None:
    check_case(CASES[case], tmp_path)


def test_multi_head_of_is_its_equation() -> None:
    layer = MultiHead(bilinear(), heads=2, hidden_dim=4)
    layer.build(STATES.shape)
    layer.bias.assign(GENERATOR.normal(size=8))
    output, maps, values = layer(STATES, mask=MASK, return_attention_scores=True, return_values=True)
    kernel, bias = to_numpy(layer.kernel), to_numpy(layer.bias)
    for head, copy in enumerate(layer.copies):
        block = slice(4 * head, 4 * head + 4)
        hidden = STATES @ kernel[:, block] + bias[block]
        expected, expected_maps = copy(hidden, mask=MASK, return_attention_scores=True)
        np.testing.assert_allclose(to_numpy(output)[..., block], to_numpy(expected), atol=1e-6)
        np.testing.assert_allclose(to_numpy(maps)[:, head], to_numpy(expected_maps), atol=1e-6)
        np.testing.assert_allclose(to_numpy(values)[..., block], hidden * MASK[..., None], atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "maps_of_a_copy"),
    [
        (bilinear(), 1),
        (ScaledDotProductSelfAttention(), 1),
        (LocalSelfAttention(2, 3), 2),
        (LocalSelfAttention(3, 1), 3),
    ],
)
@pytest.mark.parametrize("hidden_dim", [None, 2])
def test_each_output_block_is_a_map_times_a_block_of_values(
    layer: keras.layers.Layer, maps_of_a_copy: int, hidden_dim: int | None
) -> None:
    layer = MultiHead(layer, heads=2, hidden_dim=hidden_dim)
    output, maps, values = map(to_numpy, layer(STATES, mask=MASK, return_attention_scores=True, return_values=True))
    assert maps.shape == (4, 2 * maps_of_a_copy, 5, 5)
    assert values.shape == output.shape
    blocks = zip(np.split(output, maps.shape[1], axis=-1), np.split(values, maps.shape[1], axis=-1), strict=True)
    for head, (block, block_of_values) in enumerate(blocks):
        np.testing.assert_allclose(block, maps[:, head] @ block_of_values, atol=1e-6)


def test_copies_of_a_pooling_each_give_weights() -> None:
    layer = MultiHead(AdditiveAttentionPooling(2), heads=3)
    pooled, weights, values = map(to_numpy, layer(STATES, mask=MASK, return_attention_scores=True, return_values=True))
    assert weights.shape == (4, 3, 5)
    np.testing.assert_allclose(weights.sum(axis=-1), np.tile([[1], [1], [1], [0]], 3), atol=1e-6)
    expected = np.einsum("bht,btf->bhf", weights, STATES * MASK[..., None]).reshape(4, 9)
    np.testing.assert_allclose(pooled, expected, atol=1e-6)
    np.testing.assert_array_equal(values, np.tile(STATES * MASK[..., None], 3))
    assert layer.compute_mask(STATES, MASK) is None


def test_stacked_outputs_are_those_of_keras_multi_head() -> None:
    layer = MultiHead(bilinear(), heads=2, stack=True)
    stacked = to_numpy(layer(STATES))
    assert stacked.shape == (4, 5, 3, 2)
    for head, copy in enumerate(layer.copies):
        np.testing.assert_allclose(stacked[..., head], to_numpy(copy(STATES)), atol=1e-6)


def test_the_side_of_the_padding_does_not_matter() -> None:
    check_padding(MultiHead(bilinear(), heads=2, hidden_dim=2), STATES[:1])


def test_the_copied_layer_stays_unchanged() -> None:
    copied = bilinear()
    copied.build(STATES.shape)
    before = copied.get_weights()
    layer = MultiHead(copied, heads=2)
    layer(STATES)
    assert len(layer.weights) == 2
    assert all(weight is not copied.weights[0] for weight in layer.weights)
    np.testing.assert_array_equal(copied.get_weights(), before)


def test_requesting_scores_of_a_layer_without_any_is_an_error() -> None:
    layer = MultiHead(MaskedConvolution(2, 3))
    assert to_numpy(layer(STATES, mask=MASK)).shape == (4, 5, 2)
    with pytest.raises(ValueError, match=r"Expected a layer that returns attention .*MaskedConvolution"):
        layer(STATES, mask=MASK, return_attention_scores=True)


# --- faults of the sources ---


def penalty(rows: np.ndarray) -> float:
    return float(np.sum((rows @ rows.T - np.eye(len(rows))) ** 2))


def test_the_published_penalty_has_no_gradient_and_ours_has() -> None:
    copies = [bilinear(name=f"copy_{head}") for head in range(2)]
    for copy in copies:
        copy.build(STATES.shape)
    published = keras.layers.Layer()
    published.copies = copies

    def published_penalty() -> Any:
        rows = ops.stack([ops.reshape(copy.get_weights()[0], (-1,)) for copy in copies])  # get_weights: NumPy
        return ops.sum(ops.square(ops.matmul(rows, ops.transpose(rows)) - ops.eye(2)))

    layer = MultiHead(bilinear(), heads=2, reg_index=0, reg_factor=0.5)
    layer.build(STATES.shape)

    def our_penalty() -> Any:
        return layer._penalty(0, None)

    if keras.backend.backend() == "tensorflow":  # other backends cannot read a weight under a gradient
        assert all((gradient == 0).all() for gradient in gradients(published, published_penalty))
    assert all(np.abs(gradient).max() > 1e-3 for gradient in gradients(layer, our_penalty))


def test_training_lowers_the_penalty() -> None:
    keras.utils.set_random_seed(1)
    layer = MultiHead(bilinear(), heads=2, reg_index=0, reg_factor=0.5)
    layer(STATES, mask=MASK)
    rows = np.stack([weight.ravel() for weight in layer.get_weights()])
    np.testing.assert_allclose(to_numpy(layer.losses[0]), 0.5 * penalty(rows), rtol=1e-5)
    assert len(layer.losses) == 1
    inputs = keras.Input((5, 3))
    model = keras.Model(inputs, layer(inputs))
    model.compile(keras.optimizers.SGD(0.05), loss=lambda expected, received: ops.mean(0 * received))
    model.fit(STATES, STATES, epochs=20, verbose=0)
    after = np.stack([weight.ravel() for weight in layer.get_weights()])
    assert penalty(after) < 0.3 * penalty(rows)


def test_the_penalty_uses_the_chosen_slices() -> None:
    arguments = {"reg_index": [0, 0], "reg_slice": [slice(0, 2), (slice(None), slice(1, 3))], "reg_factor": [1.0, 2.0]}
    layer = MultiHead(bilinear(), heads=2, **arguments)
    layer(STATES)
    first, second = layer.get_weights()
    expected = [
        penalty(np.stack([first[:2].ravel(), second[:2].ravel()])),
        2 * penalty(np.stack([first[:, 1:3].ravel(), second[:, 1:3].ravel()])),
    ]
    np.testing.assert_allclose([to_numpy(loss) for loss in layer.losses], expected, rtol=1e-5)


def test_published_copies_are_built_for_the_input_width_and_ours_for_hidden_dim() -> None:
    published = bilinear()
    published.build(STATES.shape)  # 3 features, but the hidden states have 2
    with pytest.raises(Exception, match=r"(?s)Exception encountered.*call"):
        published(STATES[..., :2])
    layer = MultiHead(bilinear(), heads=2, hidden_dim=2)
    assert to_numpy(layer(STATES)).shape == (4, 5, 4)
    assert all(copy.weights[0].shape == (2, 2) for copy in layer.copies)


class GivesItsMap(keras.layers.Layer):
    """Returns a list, as `return_attention=True` does in keras-self-attention."""

    def call(self, inputs: Any) -> list[Any]:
        return [inputs * 2, ops.matmul(inputs, ops.transpose(inputs, (0, 2, 1)))]


def test_published_copies_that_return_a_map_break_and_ours_do_not() -> None:
    with pytest.raises(Exception, match=r"(?i)shape|dimension|sequence|equal size"):
        ops.expand_dims(GivesItsMap()(STATES), axis=-1)
    np.testing.assert_array_equal(
        to_numpy(MultiHead(GivesItsMap(), heads=2)(STATES)), np.concatenate([STATES * 2] * 2, axis=-1)
    )


def test_the_published_wrapper_cannot_list_its_weights_and_ours_can() -> None:
    layer = MultiHead(bilinear(), heads=3, hidden_dim=2)
    assert not hasattr(keras.layers.Layer(), "_trainable_weights")  # read by the published property
    layer.build(STATES.shape)
    paths = [weight.path.removeprefix(f"{layer.path}/") for weight in layer.trainable_weights]
    assert paths == ["kernel", "bias", *(f"head_{head}/score_kernel" for head in range(3))]


def test_published_copies_of_a_seeded_layer_start_equal_and_ours_do_not() -> None:
    seeded = bilinear(kernel_initializer=keras.initializers.GlorotNormal(seed=3))
    published = [SeqSelfAttention.from_config(seeded.get_config()) for _ in range(2)]
    for copy in published:
        copy.build(STATES.shape)
    np.testing.assert_array_equal(*(copy.get_weights()[0] for copy in published))
    layers = [MultiHead(seeded, heads=3) for _ in range(2)]
    for layer in layers:
        layer.build(STATES.shape)
    first, second, third = layers[0].get_weights()
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, third)
    # The seed still determines the weights.
    for weight, again in zip(layers[0].get_weights(), layers[1].get_weights(), strict=True):
        np.testing.assert_array_equal(weight, again)
