"""Every mechanism a classifier can look with: its layer, its options, and how its map becomes one weight per token."""

import inspect
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
from models.masking import Tensor


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One way to look at a text.

    Attributes:
        layer: what does it.
        arguments: the layer's, where `ClassifierConfig.attention` gives none.
        attend: applies such layers to states float[batch, tokens, features], or to ids int32[batch, tokens] if
            `reads_ids`, and their mask bool[batch, tokens].
        attention_is: whether the token weights are exactly those by which the values are summed.
        token_weight_rule: how the mechanism's map reduces to one weight per token, in words.
        stacked: whether `attention` may also say `depth`, how many of the layers lie on each other.
        reads_ids: whether it looks at the ids themselves, not at states of an embedding or encoder.
    """

    layer: type[keras.layers.Layer]
    arguments: Callable[[ClassifierConfig], dict[str, Any]]
    attend: Callable[[MakeLayer, ClassifierConfig, Tensor, Tensor], Attended]
    attention_is: Literal["exact", "approximate"]
    token_weight_rule: str
    stacked: bool = False
    reads_ids: bool = False


def attend(config: ClassifierConfig, states: Tensor, mask: Tensor) -> Attended:
    """Look at `states` float[batch, tokens, features], or at ids int32[batch, tokens], with the mechanism of `config`.

    Raises:
        ValueError: `config.attention` has an option that the mechanism's layer does not know, or a value it refuses.
    """
    return MECHANISMS[config.mechanism].attend(partial(attention_layer, config), config, states, mask)


def attention_layer(config: ClassifierConfig, name: str = "attention") -> keras.layers.Layer:
    """A fresh layer of the mechanism, with the options that `config.attention` gives.

    Raises:
        ValueError: an option that the layer does not know, or a value that it refuses.
    """
    mechanism = MECHANISMS[config.mechanism]
    known = _options_of(mechanism.layer)
    depth_of(config)
    options = {
        option: value for option, value in config.attention.items() if option != "depth" or not mechanism.stacked
    }
    if unknown := sorted(options.keys() - known):
        may_be = sorted(known | ({"depth"} if mechanism.stacked else set()))
        raise ValueError(f"Expected only options of {config.mechanism}: {may_be}. Received {unknown}.")
    try:
        return mechanism.layer(**(mechanism.arguments(config) | options), name=name)
    except TypeError as error:
        raise ValueError(f"Expected values that {config.mechanism} takes. Received {options}: {error}.") from error


def _options_of(layer: type[keras.layers.Layer]) -> set[str]:
    """The names a layer's constructor takes, and those it hands on to the classes it is derived from."""
    own = [base for base in layer.__mro__ if issubclass(base, keras.layers.Layer) and base is not keras.layers.Layer]
    names = {
        name
        for base in own
        if "__init__" in vars(base)
        for name, parameter in inspect.signature(base).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }
    return names - {"return_attention"}


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
        attending.count_alike,
        "exact",
        "the same for every token: 1 / their number",
    ),
    "elementwise": Mechanism(ElementwiseSelfAttention, _NO_ARGUMENTS, attending.look_projected, "exact", _COLUMNS),
    "multi_head": Mechanism(MultiHeadSelfAttention, _HEADS, attending.look_projected, "approximate", _HEAD_MEAN),
    "local": Mechanism(LocalSelfAttention, _HEADS, attending.look_nearby, "approximate", _HEAD_MEAN),
    "atrous": Mechanism(AtrousSelfAttention, _HEADS, attending.look_projected, "approximate", _HEAD_MEAN),
    "sparse": Mechanism(SparseSelfAttention, _HEADS, attending.look_projected, "approximate", _HEAD_MEAN),
    "dot_product": Mechanism(ScaledDotProductSelfAttention, _NO_ARGUMENTS, attending.look, "exact", _COLUMNS),
    "additive_pooling": Mechanism(
        AdditiveAttentionPooling,
        lambda config: {"units": config.attention_units},
        attending.pool,
        "exact",
        "the pooling weights themselves, over the states of the encoder",
    ),
    "seq_additive": Mechanism(
        SeqSelfAttention, lambda config: {"units": config.attention_units}, attending.look_by_pairs, "exact", _COLUMNS
    ),
    "seq_multiplicative": Mechanism(
        SeqSelfAttention,
        lambda config: {"attention_type": "multiplicative"},
        attending.look_by_pairs,
        "exact",
        _COLUMNS,
    ),
    "seq_weighted": Mechanism(
        SeqWeightedAttention,
        _NO_ARGUMENTS,
        attending.pool,
        "exact",
        "the pooling weights themselves, over the states of the encoder",
    ),
    "scaled_dot_product": Mechanism(
        ScaledDotProductAttention, _NO_ARGUMENTS, attending.look_from_projections, "exact", _COLUMNS
    ),
    "residual_scaled_dot_product": Mechanism(
        ResidualScaledDotProductAttention,
        _NO_ARGUMENTS,
        attending.look_again,
        "exact",
        "mean over the real query positions of each key's column in the product of the maps, last block first",
        stacked=True,
    ),
    "multi_head_of": Mechanism(
        MultiHead,
        lambda config: {"layer": SeqSelfAttention(attention_type="multiplicative"), "heads": 4},
        attending.look_projected,
        "approximate",
        _HEAD_MEAN,
    ),
    "multi_head_projected": Mechanism(
        MultiHeadAttention, lambda config: {"head_num": 4}, attending.look_beyond, "approximate", _HEAD_MEAN
    ),
    "keras_attention": Mechanism(keras.layers.Attention, _NO_ARGUMENTS, attending.ask_keras, "exact", _COLUMNS),
    "keras_additive_attention": Mechanism(
        keras.layers.AdditiveAttention, _NO_ARGUMENTS, attending.ask_keras_of_projections, "exact", _COLUMNS
    ),
    "keras_multi_head_attention": Mechanism(
        keras.layers.MultiHeadAttention,
        lambda config: {"num_heads": 4, "key_dim": config.attention_units},
        attending.ask_keras_heads,
        "approximate",
        _HEAD_MEAN,
    ),
    "keras_group_query_attention": Mechanism(
        keras.layers.GroupQueryAttention,
        lambda config: {"num_query_heads": 4, "num_key_value_heads": 2, "head_dim": config.attention_units},
        attending.ask_keras_heads,
        "approximate",
        _HEAD_MEAN,
    ),
    "transformer": Mechanism(
        TransformerBlock,
        lambda config: {"num_heads": 4},
        attending.encode_in_blocks,
        "approximate",
        _ROLLOUT,
        stacked=True,
    ),
    "ngram_attention": Mechanism(
        NgramAttention,
        lambda config: {"features": 1 if config.labels == 2 else config.labels},
        attending.look_up,
        "exact",
        "each n-gram's weight, divided evenly among its tokens over all the places where it stands",
        reads_ids=True,
    ),
}
