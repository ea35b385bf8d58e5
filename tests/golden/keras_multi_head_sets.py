"""Answers of keras-multi-head."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from drawn import MASK, draw, draw_weights, states
from golden_file import GoldenSet
from keras import ops
from keras_multi_head import MultiHead, MultiHeadAttention
from keras_self_attention import ScaledDotProductAttention, SeqSelfAttention, SeqWeightedAttention

HEADS = 2


def sets() -> list[GoldenSet]:
    return [*_multi_head_attention(), *_multi_head()]


def _multi_head_attention() -> Iterator[GoldenSet]:
    three = [states("query", tokens=5), states("key"), states("value")]
    for activation, use_bias, history, padded, (what, inputs, masks) in product(
        (None, "relu"),
        (True, False),
        (False, True),
        (False, True),
        (("one tensor", [states()], [MASK]), ("three tensors", three, [MASK[:, :5], MASK, MASK])),
    ):
        arguments = {"head_num": HEADS, "activation": activation, "use_bias": use_bias, "history_only": history}
        layer = MultiHeadAttention(**arguments)
        several = len(inputs) > 1
        layer.build([value.shape for value in inputs] if several else inputs[0].shape)
        names = ["Wq", "bq", "Wk", "bk", "Wv", "bv", "Wo", "bo"] if use_bias else ["Wq", "Wk", "Wv", "Wo"]
        weights = draw_weights(layer, names)
        mask: Any = (masks if several else masks[0]) if padded else None
        output = layer(inputs if several else inputs[0], mask=mask)
        options = ", ".join(f"{option}={value}" for option, value in arguments.items())
        yield GoldenSet(
            f"MultiHeadAttention of {what}, {options}, {'padded' if padded else 'unpadded'}",
            "MultiHeadAttention",
            arguments,
            inputs,
            masks if padded else [],
            weights,
            # It keeps the map as [batch, query, head, key].
            {"output": np.asarray(output), "map": np.transpose(np.asarray(layer.attention), (0, 2, 1, 3))},
        )


def _multi_head() -> Iterator[GoldenSet]:
    """Copies side by side. The wrapper breaks in `__call__` under Keras 3, its `call` works."""
    inputs = states()
    children = {
        "SeqSelfAttention": (SeqSelfAttention, {"units": 5}),
        "multiplicative SeqSelfAttention": (SeqSelfAttention, {"attention_type": "multiplicative"}),
        "local SeqSelfAttention": (SeqSelfAttention, {"units": 5, "attention_width": 3}),
        "SeqWeightedAttention": (SeqWeightedAttention, {}),
        "ScaledDotProductAttention": (ScaledDotProductAttention, {"history_only": True}),
    }
    for (what, (child, arguments)), hidden_dim in product(children.items(), (None, inputs.shape[-1])):
        layer = MultiHead(child(name="child", **arguments), layer_num=3, hidden_dim=hidden_dim)
        layer.build(inputs.shape)
        weights = {}
        if hidden_dim is not None:
            for name, weight in (("W", layer.W), ("b", layer.b)):
                weights[name] = draw(name, weight.shape)
                weight.assign(weights[name])
        for head, copy in enumerate(layer.layers):
            drawn = [draw(f"{head}/{index}", weight.shape) for index, weight in enumerate(copy.weights)]
            copy.set_weights(drawn)
            weights |= {f"{head}/{index}": value for index, value in enumerate(drawn)}
        yield GoldenSet(
            f"MultiHead of 3 {what}, hidden_dim={hidden_dim}",
            "MultiHead",
            {"layer": child.__name__, "layer_arguments": arguments, "layer_num": 3, "hidden_dim": hidden_dim},
            [inputs],
            [],
            weights,
            {"output": np.asarray(layer.call(ops.convert_to_tensor(inputs)))},
        )
