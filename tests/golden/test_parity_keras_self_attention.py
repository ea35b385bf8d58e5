"""Our layers answer what keras-self-attention answers, option by option."""

import keras
import numpy as np
from keras import ops

from models.layers import (
    ResidualScaledDotProductAttention,
    ScaledDotProductAttention,
    SeqSelfAttention,
    SeqWeightedAttention,
)
from tests.golden.golden_file import GoldenSet, read
from tests.golden.parity import HERE, assert_near, loaded, mask_of, sets_of, without_padded_queries


def test_the_whole_cross_of_options_is_there() -> None:
    """Type, activation, width, history and both biases: 144 sets, each with and without padding."""
    crossed = [
        each
        for each in read(HERE / "keras_self_attention.npz").sets
        if each.layer == "SeqSelfAttention" and len(each.arguments) == 7
    ]
    assert len([each for each in crossed if not each.masks]) == 144
    assert len([each for each in crossed if each.masks]) == 144


@sets_of("keras_self_attention", "SeqSelfAttention")
def test_seq_self_attention(golden: GoldenSet) -> None:
    """Compare everything if nothing is padded, else only what upstream masks too."""
    told = {"mask_mode": "upstream"} if golden.masks else {}
    layer = loaded(SeqSelfAttention(**golden.arguments, **told), golden)
    output, scores = layer(golden.inputs[0], mask=mask_of(golden), return_attention_scores=True)
    assert_near(output, golden.outputs["output"])
    assert_near(scores, golden.outputs["map"])
    if "loss" in golden.outputs:
        # Ours is divided by the number of real tokens, but not where it answers as upstream does.
        rows = 1 if golden.masks else golden.inputs[0].shape[1]
        assert_near(layer.losses[0] * rows, golden.outputs["loss"])


@sets_of("keras_self_attention", "SeqWeightedAttention")
def test_seq_weighted_attention(golden: GoldenSet) -> None:
    layer = loaded(SeqWeightedAttention(**golden.arguments), golden)
    output, weights = layer(golden.inputs[0], mask=mask_of(golden), return_attention_scores=True)
    assert_near(output, golden.outputs["output"])
    assert_near(weights, golden.outputs["map"])


@sets_of("keras_self_attention", "ScaledDotProductAttention")
def test_scaled_dot_product_attention(golden: GoldenSet) -> None:
    layer = ScaledDotProductAttention(**golden.arguments)
    several = len(golden.inputs) > 1
    masks = [ops.array(mask) for mask in golden.masks] or None
    output, scores = layer(
        golden.inputs if several else golden.inputs[0],
        mask=masks if several else mask_of(golden),
        return_attention_scores=True,
    )
    assert_near(output, without_padded_queries(golden.outputs["output"], golden))
    assert_near(scores, without_padded_queries(golden.outputs["map"], golden))


@sets_of("keras_self_attention", "ResidualScaledDotProductAttention")
def test_residual_scaled_dot_product_attention(golden: GoldenSet) -> None:
    layer = ResidualScaledDotProductAttention(**golden.arguments)
    masks = [ops.array(mask) for mask in golden.masks] or None
    output, weights, scores = layer(golden.inputs, mask=masks, return_attention_scores=True)
    assert_near(output, without_padded_queries(golden.outputs["output"], golden))
    # What upstream hands on between padding, no later block looks at; ours is 0 there.
    handed_on = without_padded_queries(golden.outputs["scores"], golden)
    if golden.masks:
        keys = golden.masks[1] if len(golden.masks) > 1 else golden.masks[0]
        handed_on = np.where(keys[:, None, :], handed_on, 0)
    assert_near(scores, handed_on)
    assert_near(weights, without_padded_queries(golden.outputs["map"], golden))


def test_a_model_saved_with_keras_self_attention_loads_with_our_layer() -> None:
    """Its config names the layer by its class alone, and the weights lie in the order of ours."""
    [golden] = read(HERE / "keras_self_attention_model.npz").sets
    model = keras.models.load_model(
        HERE / "keras_self_attention_model.keras", custom_objects=SeqSelfAttention.get_custom_objects()
    )
    assert type(model.get_layer("attention")) is SeqSelfAttention
    assert_near(model(golden.inputs[0]), golden.outputs["output"])
