"""Answers of keras-self-attention."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from drawn import MASK, NO_PADDING, TOKENS, draw, draw_weights, states
from golden_file import GoldenSet
from keras_self_attention import (
    ResidualScaledDotProductAttention,
    ScaledDotProductAttention,
    SeqSelfAttention,
    SeqWeightedAttention,
)

UNITS = 5
ACTIVATIONS = (None, "sigmoid", "tanh")
WIDTHS = (None, 3, 4)


def sets() -> list[GoldenSet]:
    return [*_seq_self_attention(), *_seq_weighted(), *_scaled_dot_product(), *_residual()]


def _seq_self_attention() -> Iterator[GoldenSet]:
    """The full cross, 144 sets, each with and without padding; then what the cross leaves out."""
    for kind, activation, width, history, additive_bias, attention_bias in product(
        ("additive", "multiplicative"), ACTIVATIONS, WIDTHS, (False, True), (True, False), (True, False)
    ):
        arguments = {
            "attention_type": kind,
            "attention_activation": activation,
            "attention_width": width,
            "history_only": history,
            "use_additive_bias": additive_bias,
            "use_attention_bias": attention_bias,
        }
        for mask in (None, MASK):
            yield _seq_self_attention_set(arguments, mask)
    for kind, width, history, mask in product(
        ("additive", "multiplicative"), (1, 2, TOKENS + 3), (False, True), (None, MASK)
    ):
        arguments = {"attention_type": kind, "attention_width": width, "history_only": history}
        yield _seq_self_attention_set(arguments, mask)
    for kind, width, mask in product(("additive", "multiplicative"), (None, 3), (None, MASK)):
        arguments = {"attention_type": kind, "attention_width": width, "attention_regularizer_weight": 0.25}
        yield _seq_self_attention_set(arguments, mask)


def _seq_self_attention_set(arguments: dict[str, Any], mask: np.ndarray | None) -> GoldenSet:
    inputs = states()
    layer = SeqSelfAttention(units=UNITS, return_attention=True, **arguments)
    layer.build(inputs.shape)
    names = ["Wt", "Wx", "bh", "Wa", "ba"] if arguments["attention_type"] == "additive" else ["Wa", "ba"]
    left_out = {"bh": not layer.use_additive_bias, "ba": not layer.use_attention_bias}
    weights = draw_weights(layer, [name for name in names if not left_out.get(name, False)])
    output, scores = layer(inputs, mask=mask)
    outputs = {"output": np.asarray(output), "map": np.asarray(scores)}
    if layer.losses:
        outputs["loss"] = np.asarray(layer.losses[0])
    return GoldenSet(
        _name("SeqSelfAttention", arguments, mask),
        "SeqSelfAttention",
        {"units": UNITS, **arguments},
        [inputs],
        [] if mask is None else [mask],
        weights,
        outputs,
    )


def _seq_weighted() -> Iterator[GoldenSet]:
    inputs = states()
    for use_bias, mask in product((True, False), (None, MASK)):
        arguments = {"use_bias": use_bias}
        layer = SeqWeightedAttention(return_attention=True, **arguments)
        layer.build(inputs.shape)
        weights = draw_weights(layer, ["W", "b"][: len(layer.weights)])
        output, scores = layer(inputs, mask=mask)
        yield GoldenSet(
            _name("SeqWeightedAttention", arguments, mask),
            "SeqWeightedAttention",
            arguments,
            [inputs],
            [] if mask is None else [mask],
            weights,
            {"output": np.asarray(output), "map": np.asarray(scores)},
        )


def _query_key_value() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Five queries against six keys, whose values have another width; and their masks."""
    inputs = [states("query", tokens=5), states("key"), states("value", features=3)]
    return inputs, [MASK[:, :5], MASK, MASK]


def _scaled_dot_product() -> Iterator[GoldenSet]:
    three, three_masks = _query_key_value()
    for history, padded, (what, inputs, masks) in product(
        (False, True), (False, True), (("one tensor", [states()], [MASK]), ("three tensors", three, three_masks))
    ):
        arguments = {"history_only": history}
        layer = ScaledDotProductAttention(return_attention=True, **arguments)
        given: Any = inputs if len(inputs) > 1 else inputs[0]
        mask: Any = (masks if len(inputs) > 1 else masks[0]) if padded else None
        output, scores = layer.call(given, mask=mask)
        yield GoldenSet(
            _name(f"ScaledDotProductAttention of {what}", arguments, mask),
            "ScaledDotProductAttention",
            arguments,
            inputs,
            masks if padded else [],
            {},
            {"output": np.asarray(output), "map": np.asarray(scores)},
        )


def _residual() -> Iterator[GoldenSet]:
    """Without previous scores is with zeros, and without padding is with a mask of ones: it takes nothing less."""
    three, three_masks = _query_key_value()
    for history, padded, previous, (what, inputs, masks) in product(
        (False, True),
        (False, True),
        (False, True),
        (("one tensor", [states()], [MASK]), ("three tensors", three, three_masks)),
    ):
        arguments = {"history_only": history}
        layer = ResidualScaledDotProductAttention(return_attention=True, **arguments)
        shape = (len(inputs[0]), inputs[0].shape[1], TOKENS)
        scores = draw("previous", shape) if previous else np.zeros(shape, np.float32)
        asked = masks if padded else [np.ones_like(mask) for mask in masks]
        output, passed_on, weights = layer.call([*inputs, scores], mask=[*asked, None])
        name = f"ResidualScaledDotProductAttention of {what}, {'with' if previous else 'without'} previous scores"
        yield GoldenSet(
            _name(name, arguments, MASK if padded else None),
            "ResidualScaledDotProductAttention",
            arguments,
            [*inputs, scores] if previous else inputs,
            masks if padded else [],
            {},
            {"output": np.asarray(output), "scores": np.asarray(passed_on), "map": np.asarray(weights)},
        )


def _name(layer: str, arguments: dict[str, Any], mask: Any) -> str:
    options = ", ".join(f"{option}={value}" for option, value in arguments.items())
    return f"{layer}, {options}, {'unpadded' if mask is None or mask is NO_PADDING else 'padded'}"
