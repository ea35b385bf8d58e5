"""Our layers answer what PyTorch's do, and what the two functions of the second write-up did on whole texts."""

import numpy as np
from keras import ops

from models.layers import (
    AdditiveAttentionPooling,
    MultiHeadAttention,
    MultiHeadSelfAttention,
    ScaledDotProductSelfAttention,
    TransformerBlock,
)
from tests.golden.golden_file import GoldenSet
from tests.golden.parity import assert_near, loaded, mask_of, sets_of, without_padded_queries

HEADS, SIZE = 2, 2


def in_projections(stacked: np.ndarray) -> np.ndarray:
    """The kernels of query, key and value, input features first, out of PyTorch's stack of them."""
    return stacked.reshape(3, HEADS * SIZE, HEADS * SIZE).swapaxes(1, 2)


@sets_of("torch", "attention_1")
def test_attention_1(golden: GoldenSet) -> None:
    context = ScaledDotProductSelfAttention()(golden.inputs[0])
    assert_near(ops.sum(context, axis=1), golden.outputs["output"])


@sets_of("torch", "attention_2")
def test_attention_2(golden: GoldenSet) -> None:
    layer = loaded(AdditiveAttentionPooling(golden.inputs[0].shape[-1], use_bias=False), golden)
    output, weights = layer(golden.inputs[0], return_attention_scores=True)
    assert_near(output, golden.outputs["output"])
    assert_near(weights, golden.outputs["map"])


@sets_of("torch", "MultiheadAttention")
def test_multi_head_attention(golden: GoldenSet) -> None:
    use_bias, causal = golden.arguments["bias"], golden.arguments["causal"]
    queries, keys, values = in_projections(golden.weights["in_proj_weight"])
    output_kernel = golden.weights["out_proj.weight"].T
    layer = MultiHeadAttention(HEADS, activation=None, use_bias=use_bias, history_only=causal)
    layer.build(golden.inputs[0].shape)
    if use_bias:
        biases = [*golden.weights["in_proj_bias"].reshape(3, -1), golden.weights["out_proj.bias"]]
        kernels = [queries, keys, values, output_kernel]
        layer.set_weights([each for pair in zip(kernels, biases, strict=True) for each in pair])
    else:
        layer.set_weights([queries, keys, values, output_kernel])
    answers = [layer(golden.inputs[0], mask=mask_of(golden), return_attention_scores=True)]
    if not use_bias:
        heads = MultiHeadSelfAttention(HEADS, SIZE, causal=causal)
        heads.build(golden.inputs[0].shape)
        heads.set_weights([queries, keys, values])
        side_by_side, scores = heads(golden.inputs[0], mask=mask_of(golden), return_attention_scores=True)
        answers.append((ops.matmul(side_by_side, output_kernel), scores))
    for output, scores in answers:
        assert_near(output, without_padded_queries(golden.outputs["output"], golden))
        assert_near(scores, without_padded_queries(golden.outputs["map"], golden, query_axis=2))


@sets_of("torch", "TransformerEncoderLayer")
def test_transformer_encoder_layer(golden: GoldenSet) -> None:
    layer = TransformerBlock(
        HEADS,
        ff_dim=golden.arguments["dim_feedforward"],
        activation=golden.arguments["activation"],
        norm="pre" if golden.arguments["norm_first"] else "post",
        epsilon=golden.arguments["layer_norm_eps"],
    )
    layer.build(golden.inputs[0].shape)
    weights = dict(golden.weights)
    kernels = in_projections(weights.pop("self_attn.in_proj_weight"))
    biases = weights.pop("self_attn.in_proj_bias").reshape(3, -1)
    projections = [each for pair in zip(kernels, biases, strict=True) for each in pair]
    order = ["self_attn.out_proj", "norm1", "linear1", "linear2", "norm2"]
    others = [weights.pop(f"{name}.{kind}").T for name in order for kind in ("weight", "bias")]
    assert not weights
    layer.set_weights([*projections, *others])
    output = layer(golden.inputs[0], mask=mask_of(golden))
    assert_near(output, without_padded_queries(golden.outputs["output"], golden))
