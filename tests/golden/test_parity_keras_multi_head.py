"""Our layers answer what keras-multi-head answers."""

from keras import ops

from models import layers
from models.layers import MultiHead, MultiHeadAttention
from tests.golden.golden_file import GoldenSet
from tests.golden.parity import assert_near, loaded, mask_of, sets_of, without_padded_queries


@sets_of("keras_multi_head", "MultiHeadAttention")
def test_multi_head_attention(golden: GoldenSet) -> None:
    layer = MultiHeadAttention(**golden.arguments)
    several = len(golden.inputs) > 1
    layer.build([value.shape for value in golden.inputs] if several else golden.inputs[0].shape)
    layer.set_weights(list(golden.weights.values()))
    masks = [ops.array(mask) for mask in golden.masks] or None
    output, scores = layer(
        golden.inputs if several else golden.inputs[0],
        mask=masks if several else mask_of(golden),
        return_attention_scores=True,
    )
    assert_near(output, without_padded_queries(golden.outputs["output"], golden))
    assert_near(scores, without_padded_queries(golden.outputs["map"], golden, query_axis=2))


@sets_of("keras_multi_head", "MultiHead")
def test_multi_head(golden: GoldenSet) -> None:
    given = golden.arguments
    child = getattr(layers, given["layer"])(**given["layer_arguments"])
    layer = loaded(MultiHead(child, given["layer_num"], hidden_dim=given["hidden_dim"], stack=True), golden)
    assert_near(layer(golden.inputs[0]), golden.outputs["output"])
