"""The attention mechanisms of a classifier: layer, options, and the rule for one weight per token."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import keras

from models import attending
from models.attending import Attended, MakeLayer, depth_of
from models.config import ClassifierConfig
from models.layers import (
    AdditiveAttentionPooling,
    AtrousSelfAttention,
    ElementwiseSelfAttention,
    LocalSelfAttention,
    MaskedPooling,
    MultiHead,
    MultiHeadAttention,
    MultiHeadSelfAttention,
    ResidualScaledDotProductAttention,
    ScaledDotProductAttention,
    ScaledDotProductSelfAttention,
    SeqSelfAttention,
    SeqWeightedAttention,
    SparseSelfAttention,
    TransformerBlock,
)
from models.layers.base import argument_names
from models.masking import Tensor


@dataclass(frozen=True, slots=True)
class Mechanism:
    """An attention mechanism.

    Attributes:
        layer: its class.
        arguments: default arguments of the layer.
        attend: applies such layers to states float[batch, tokens, features] and their mask bool[batch, tokens].
        attention_is: "exact" if the token weights are the coefficients of the summed values.
        token_weight_rule: describes how the map reduces to one weight per token.
        stacked: takes the option `depth`, the number of stacked layers.
    """

    layer: type[keras.layers.Layer]
    arguments: Callable[[ClassifierConfig], dict[str, Any]]
    attend: Callable[[MakeLayer, ClassifierConfig, Tensor, Tensor], Attended]
    attention_is: Literal["exact", "approximate"]
    token_weight_rule: str
    stacked: bool = False


def attend(config: ClassifierConfig, states: Tensor, mask: Tensor) -> Attended:
    """Apply the mechanism of `config` to states float[batch, tokens, features].

    Raises:
        ValueError: an unknown option in `config.attention`, or an invalid value.
    """
    return MECHANISMS[config.mechanism].attend(partial(attention_layer, config), config, states, mask)


def attention_layer(config: ClassifierConfig, name: str = "attention") -> keras.layers.Layer:
    """Make a layer of the mechanism with the options of `config.attention`.

    Raises:
        ValueError: an unknown option, or an invalid value.
    """
    mechanism = MECHANISMS[config.mechanism]
    known = {*argument_names(mechanism.layer)} - {"return_attention"}
    options = dict(config.attention)
    depth_of(config)
    if mechanism.stacked:
        options.pop("depth", None)
    if unknown := sorted(options.keys() - known):
        valid = sorted(known | ({"depth"} if mechanism.stacked else set()))
        raise ValueError(f"Expected only options of {config.mechanism}: {valid}. Received {unknown}.")
    try:
        return mechanism.layer(**(mechanism.arguments(config) | options), name=name)
    except TypeError as error:
        raise ValueError(f"Expected valid options of {config.mechanism}. Received {options}: {error}.") from error


_NO_ARGUMENTS: Callable[[ClassifierConfig], dict[str, Any]] = lambda config: {}  # noqa: E731
_HEADS: Callable[[ClassifierConfig], dict[str, Any]] = lambda config: {  # noqa: E731
    "heads": 4,
    "size_per_head": config.attention_units,
}

_COLUMNS = "mean over the real query positions of each key's column in the attention map"
_HEAD_MEAN = f"{_COLUMNS}, averaged over the heads"
_ROLLOUT = (
    "attention rollout: the maps, averaged over the heads and mixed half and half with the position itself, multiplied "
    "from the last block to the first; then the mean over the real query positions"
)

MECHANISMS: dict[str, Mechanism] = {
    "uniform": Mechanism(
        MaskedPooling,
        lambda config: {"mode": "mean"},
        attending.uniform,
        "exact",
        "the same for every token: 1 / their number",
    ),
    "elementwise": Mechanism(ElementwiseSelfAttention, _NO_ARGUMENTS, attending.projected_values, "exact", _COLUMNS),
    "multi_head": Mechanism(MultiHeadSelfAttention, _HEADS, attending.projected_values, "approximate", _HEAD_MEAN),
    "local": Mechanism(LocalSelfAttention, _HEADS, attending.local_attention, "approximate", _HEAD_MEAN),
    "atrous": Mechanism(AtrousSelfAttention, _HEADS, attending.projected_values, "approximate", _HEAD_MEAN),
    "sparse": Mechanism(SparseSelfAttention, _HEADS, attending.projected_values, "approximate", _HEAD_MEAN),
    "dot_product": Mechanism(ScaledDotProductSelfAttention, _NO_ARGUMENTS, attending.self_attention, "exact", _COLUMNS),
    "additive_pooling": Mechanism(
        AdditiveAttentionPooling,
        lambda config: {"units": config.attention_units},
        attending.pooling,
        "exact",
        "the pooling weights themselves, over the states of the encoder",
    ),
    "seq_additive": Mechanism(
        SeqSelfAttention,
        lambda config: {"units": config.attention_units},
        attending.seq_self_attention,
        "exact",
        _COLUMNS,
    ),
    "seq_multiplicative": Mechanism(
        SeqSelfAttention,
        lambda config: {"attention_type": "multiplicative"},
        attending.seq_self_attention,
        "exact",
        _COLUMNS,
    ),
    "seq_weighted": Mechanism(
        SeqWeightedAttention,
        _NO_ARGUMENTS,
        attending.pooling,
        "exact",
        "the pooling weights themselves, over the states of the encoder",
    ),
    "scaled_dot_product": Mechanism(
        ScaledDotProductAttention, _NO_ARGUMENTS, attending.scaled_dot_product, "exact", _COLUMNS
    ),
    "residual_scaled_dot_product": Mechanism(
        ResidualScaledDotProductAttention,
        _NO_ARGUMENTS,
        attending.residual_scaled_dot_product,
        "exact",
        "mean over the real query positions of each key's column in the product of the maps, last block first",
        stacked=True,
    ),
    "multi_head_of": Mechanism(
        MultiHead,
        lambda config: {"layer": SeqSelfAttention(attention_type="multiplicative"), "heads": 4},
        attending.projected_values,
        "approximate",
        _HEAD_MEAN,
    ),
    "multi_head_projected": Mechanism(
        MultiHeadAttention, lambda config: {"head_num": 4}, attending.projected_output, "approximate", _HEAD_MEAN
    ),
    "keras_attention": Mechanism(keras.layers.Attention, _NO_ARGUMENTS, attending.keras_attention, "exact", _COLUMNS),
    "keras_additive_attention": Mechanism(
        keras.layers.AdditiveAttention, _NO_ARGUMENTS, attending.keras_additive_attention, "exact", _COLUMNS
    ),
    "keras_multi_head_attention": Mechanism(
        keras.layers.MultiHeadAttention,
        lambda config: {"num_heads": 4, "key_dim": config.attention_units},
        attending.keras_multi_head,
        "approximate",
        _HEAD_MEAN,
    ),
    "keras_group_query_attention": Mechanism(
        keras.layers.GroupQueryAttention,
        lambda config: {"num_query_heads": 4, "num_key_value_heads": 2, "head_dim": config.attention_units},
        attending.keras_multi_head,
        "approximate",
        _HEAD_MEAN,
    ),
    "transformer": Mechanism(
        TransformerBlock,
        lambda config: {"num_heads": 4},
        attending.transformer,
        "approximate",
        _ROLLOUT,
        stacked=True,
    ),
}
