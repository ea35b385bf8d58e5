"""Our layer answers what the hand-written MyAttention of the first write-up computed, there in float64."""

import math

from models.layers import ElementwiseSelfAttention
from tests.golden.golden_file import GoldenSet
from tests.golden.parity import assert_near, loaded, sets_of


@sets_of("write_up", "MyAttention")
def test_my_attention(golden: GoldenSet) -> None:
    scale = math.sqrt(golden.arguments["key_size"])
    layer = loaded(ElementwiseSelfAttention(golden.arguments["length"], scale), golden)
    output, scores = layer(golden.inputs[0], return_attention_scores=True)
    assert_near(output, golden.outputs["output"])
    assert_near(scores, golden.outputs["map"])
