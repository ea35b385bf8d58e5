"""Our layers answer what Keras' own do, where both compute the same."""

from keras import ops

from models.layers import (
    MultiHeadAttention,
    MultiHeadSelfAttention,
    ScaledDotProductAttention,
    ScaledDotProductSelfAttention,
    SeqSelfAttention,
)
from tests.golden.golden_file import GoldenSet
from tests.golden.parity import assert_near, mask_of, sets_of, without_padded_queries

HEADS, FEATURES = 2, 4


@sets_of("keras", "Attention")
def test_attention_of_scaled_queries(golden: GoldenSet) -> None:
    causal = golden.arguments["use_causal_mask"]
    layer = ScaledDotProductAttention(history_only=True) if causal else ScaledDotProductSelfAttention()
    output, scores = layer(golden.inputs[0], mask=mask_of(golden), return_attention_scores=True)
    assert_near(output, without_padded_queries(golden.outputs["output"], golden))
    assert_near(scores, without_padded_queries(golden.outputs["map"], golden))


@sets_of("keras", "AdditiveAttention")
def test_additive_attention_between_projections(golden: GoldenSet) -> None:
    query_kernel, key_kernel, bias, scale = golden.weights.values()
    causal = golden.arguments["use_causal_mask"]
    layer = SeqSelfAttention(units=len(scale), use_attention_bias=False, history_only=causal)
    layer.build(golden.inputs[0].shape)
    layer.set_weights([query_kernel, key_kernel, bias, scale[:, None]])
    output, scores = layer(golden.inputs[0], mask=mask_of(golden), return_attention_scores=True)
    assert_near(output, without_padded_queries(golden.outputs["output"], golden))
    assert_near(scores, without_padded_queries(golden.outputs["map"], golden))


@sets_of("keras", "MultiHeadAttention")
def test_multi_head_attention(golden: GoldenSet) -> None:
    """Without biases, our heads and then its output kernel; with heads that share the features, the whole of it."""
    size, causal = golden.arguments["value_dim"], golden.arguments["use_causal_mask"]
    shapes = {"kernel": (FEATURES, -1), "bias": (-1,)}
    weights = {name: each.reshape(shapes[name.split("_")[1]]) for name, each in golden.weights.items()}
    output_kernel = golden.weights["output_kernel"].reshape(HEADS * size, FEATURES)
    weights["output_kernel"] = output_kernel
    answers = []
    if not golden.arguments["use_bias"]:
        layer = MultiHeadSelfAttention(HEADS, size, key_size=2, causal=causal)
        layer.build(golden.inputs[0].shape)
        layer.set_weights([weights[f"{name}_kernel"] for name in ("query", "key", "value")])
        heads, scores = layer(golden.inputs[0], mask=mask_of(golden), return_attention_scores=True)
        answers.append((ops.matmul(heads, output_kernel), scores))
    if HEADS * size == FEATURES:
        layer = MultiHeadAttention(HEADS, activation=None, use_bias=golden.arguments["use_bias"], history_only=causal)
        layer.build(golden.inputs[0].shape)
        layer.set_weights(list(weights.values()))
        answers.append(layer(golden.inputs[0], mask=mask_of(golden), return_attention_scores=True))
    for output, scores in answers:
        assert_near(output, without_padded_queries(golden.outputs["output"], golden))
        assert_near(scores, without_padded_queries(golden.outputs["map"], golden, query_axis=2))
