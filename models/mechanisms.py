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
    NgramAttention,
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

_COLUMNS = "mean over the real query positions of each key's column in the attention map"
_HEAD_MEAN = f"{_COLUMNS}, averaged over the heads"
_POOLING_WEIGHTS = "the pooling weights themselves, over the states of the encoder"
_ROLLOUT = (
    "attention rollout: the maps, averaged over the heads and mixed half and half with the position itself, multiplied "
    "from the last block to the first; then the mean over the real query positions"
)


@dataclass(frozen=True, slots=True)
class Mechanism:
    """An attention mechanism.

    Attributes:
        attend: applies such layers to states float[batch, tokens, features], or to ids int32[batch, tokens] if
            `reads_ids`, and their mask bool[batch, tokens].
        arguments: default arguments of the layer.
        attention_is: "exact" if the token weights are the coefficients of the summed values.
        token_weight_rule: describes how the map reduces to one weight per token.
        stacked: takes the option `depth`, the number of stacked layers.
        reads_ids: attends over the ids themselves, not over states of an embedding or encoder.
    """

    layer: type[keras.layers.Layer]
    attend: Callable[[MakeLayer, ClassifierConfig, Tensor, Tensor], Attended]
    arguments: Callable[[ClassifierConfig], dict[str, Any]] = lambda config: {}
    attention_is: Literal["exact", "approximate"] = "exact"
    token_weight_rule: str = _COLUMNS
    stacked: bool = False
    reads_ids: bool = False


def attend(config: ClassifierConfig, states: Tensor, mask: Tensor) -> Attended:
    """Apply the mechanism of `config` to states float[batch, tokens, features]; raises as `attention_layer` does."""
    return MECHANISMS[config.mechanism].attend(partial(attention_layer, config), config, states, mask)


def attention_layer(config: ClassifierConfig, name: str = "attention") -> keras.layers.Layer:
    """Make a layer of the mechanism with the options of `config.attention`.

    Raises:
        ValueError: an unknown option, or an invalid value.
    """
    mechanism = MECHANISMS[config.mechanism]
    known = {*argument_names(mechanism.layer), *(["depth"] if mechanism.stacked else [])} - {"return_attention"}
    options = dict(config.attention)
    if unknown := sorted(options.keys() - known):
        raise ValueError(f"Expected only options of {config.mechanism}: {sorted(known)}. Received {unknown}.")
    depth_of(config)
    options.pop("depth", None)
    try:
        return mechanism.layer(**(mechanism.arguments(config) | options), name=name)
    except TypeError as error:
        raise ValueError(f"Expected valid options of {config.mechanism}. Received {options}: {error}.") from error


def _units(config: ClassifierConfig) -> dict[str, Any]:
    return {"units": config.attention_units}


def _heads(config: ClassifierConfig) -> dict[str, Any]:
    return {"heads": 4, "size_per_head": config.attention_units}


MECHANISMS: dict[str, Mechanism] = {
    "uniform": Mechanism(
        MaskedPooling,
        attending.uniform,
        lambda config: {"mode": "mean"},
        token_weight_rule="the same for every token: 1 / their number",
    ),
    "elementwise": Mechanism(ElementwiseSelfAttention, attending.projected_values),
    "multi_head": Mechanism(MultiHeadSelfAttention, attending.projected_values, _heads, "approximate", _HEAD_MEAN),
    "local": Mechanism(LocalSelfAttention, attending.local_attention, _heads, "approximate", _HEAD_MEAN),
    "atrous": Mechanism(AtrousSelfAttention, attending.projected_values, _heads, "approximate", _HEAD_MEAN),
    "sparse": Mechanism(SparseSelfAttention, attending.projected_values, _heads, "approximate", _HEAD_MEAN),
    "dot_product": Mechanism(ScaledDotProductSelfAttention, attending.self_attention),
    "additive_pooling": Mechanism(
        AdditiveAttentionPooling, attending.pooling, _units, token_weight_rule=_POOLING_WEIGHTS
    ),
    "seq_additive": Mechanism(SeqSelfAttention, attending.seq_self_attention, _units),
    "seq_multiplicative": Mechanism(
        SeqSelfAttention, attending.seq_self_attention, lambda config: {"attention_type": "multiplicative"}
    ),
    "seq_weighted": Mechanism(SeqWeightedAttention, attending.pooling, token_weight_rule=_POOLING_WEIGHTS),
    "scaled_dot_product": Mechanism(ScaledDotProductAttention, attending.scaled_dot_product),
    "residual_scaled_dot_product": Mechanism(
        ResidualScaledDotProductAttention,
        attending.residual_scaled_dot_product,
        token_weight_rule=(
            "mean over the real query positions of each key's column in the product of the maps, last block first"
        ),
        stacked=True,
    ),
    "multi_head_of": Mechanism(
        MultiHead,
        attending.projected_values,
        lambda config: {"layer": SeqSelfAttention(attention_type="multiplicative"), "heads": 4},
        "approximate",
        _HEAD_MEAN,
    ),
    "multi_head_projected": Mechanism(
        MultiHeadAttention, attending.projected_output, lambda config: {"head_num": 4}, "approximate", _HEAD_MEAN
    ),
    "keras_attention": Mechanism(keras.layers.Attention, attending.keras_attention),
    "keras_additive_attention": Mechanism(keras.layers.AdditiveAttention, attending.keras_additive_attention),
    "keras_multi_head_attention": Mechanism(
        keras.layers.MultiHeadAttention,
        attending.keras_multi_head,
        lambda config: {"num_heads": 4, "key_dim": config.attention_units},
        "approximate",
        _HEAD_MEAN,
    ),
    "keras_group_query_attention": Mechanism(
        keras.layers.GroupQueryAttention,
        attending.keras_multi_head,
        lambda config: {"num_query_heads": 4, "num_key_value_heads": 2, "head_dim": config.attention_units},
        "approximate",
        _HEAD_MEAN,
    ),
    "transformer": Mechanism(
        TransformerBlock, attending.transformer, lambda config: {"num_heads": 4}, "approximate", _ROLLOUT, stacked=True
    ),
    "ngram_attention": Mechanism(
        NgramAttention,
        attending.ngrams,
        lambda config: {"features": 1 if config.labels == 2 else config.labels},
        "exact",
        "each n-gram's weight, divided evenly among its tokens over all its occurrences",
        reads_ids=True,
    ),
}
