"""Apply each kind of attention to the states, and find its weight per token."""

from collections.abc import Callable
from typing import NamedTuple

import keras

from models.config import ClassifierConfig
from models.layers import AttentionRollout, JoinNgrams, MaskedPooling, NgramAttention, RemoveMask, TokenWeights
from models.layers.base import argument_names
from models.masking import Tensor
from models.windows import Window

NGRAMS = "ngrams"

MakeLayer = Callable[[str], keras.layers.Layer]  # makes the layer of a mechanism with the given name


class Attended(NamedTuple):
    """Result of an attention.

    Attributes:
        pooled: float[batch, features].
        weights: float[batch, tokens], summing to 1 over real tokens.
        values: float[batch, tokens, features], if `pooled` is a weighted sum of them.
        coefficients: of that sum, float[batch, tokens] or float[batch, heads, tokens].
    """

    pooled: Tensor
    weights: Tensor
    values: Tensor | None = None
    coefficients: Tensor | None = None


def uniform(make: MakeLayer, config: ClassifierConfig, states: Tensor, mask: Tensor) -> Attended:
    """Weight all tokens equally: the baseline for learned attention."""
    _, weights = make("attention")(states, mask=mask, return_attention_scores=True)
    pooled, coefficients = MaskedPooling(config.pooling, name="pooling")(
        states, mask=mask, return_attention_scores=True
    )
    return Attended(pooled, weights, states, coefficients)


def pooling(make: MakeLayer, config: ClassifierConfig, states: Tensor, mask: Tensor) -> Attended:
    """Apply a layer that pools."""
    pooled, weights = make("attention")(states, mask=mask, return_attention_scores=True)
    return Attended(pooled, weights, states, weights)


def ngrams(make: MakeLayer, config: ClassifierConfig, ids: Tensor, mask: Tensor) -> Attended:
    """Attend over the n-grams of ids int32[batch, tokens]; each token's value is its share of the sum."""
    pooled, weights, values = make("attention")(ids, mask=mask, return_attention_scores=True, return_values=True)
    _, ones = MaskedPooling("sum", name="pooling")(values, mask=mask, return_attention_scores=True)
    return Attended(pooled, weights, values, ones)


def beside_ngrams(config: ClassifierConfig, attended: Attended, ids: Tensor, mask: Tensor) -> Attended:
    """Put the n-grams of ids int32[batch, tokens] beside another attention, if `config` has them.

    Raises:
        ValueError: the other attention is no weighted sum of one value a token, or an option of the n-grams is unknown.
    """
    if config.ngrams is None:
        return attended
    if attended.values is None or attended.coefficients is None or len(attended.coefficients.shape) != 2:
        raise ValueError(f"Expected n-grams beside an exact mechanism. Received {config.mechanism}.")
    pooled, weights, values = ngrams_layer(config)(ids, mask=mask, return_attention_scores=True, return_values=True)
    return Attended(*JoinNgrams(config.ngram_share, name="join")(*attended, pooled, weights, values))


def ngrams_layer(config: ClassifierConfig) -> NgramAttention:
    """Make the layer of n-grams beside the mechanism of `config`.

    Raises:
        ValueError: an unknown option, or an invalid value.
    """
    options = {"features": 1 if config.labels == 2 else config.labels, **(config.ngrams or {})}
    known = argument_names(NgramAttention)
    if unknown := sorted(options.keys() - known):
        raise ValueError(f"Expected only options of ngrams: {sorted(known)}. Received {unknown}.")
    return NgramAttention(**options, name=NGRAMS)


def self_attention(make: MakeLayer, config: ClassifierConfig, states: Tensor, mask: Tensor) -> Attended:
    """Apply a map to the states."""
    attended, scores = make("attention")(states, mask=mask, return_attention_scores=True)
    return _pooled(config, attended, scores, states, mask)


def projected_values(make: MakeLayer, config: ClassifierConfig, states: Tensor, mask: Tensor) -> Attended:
    """Apply one map, or one per head, to values that the layer projects."""
    attended, scores, values = make("attention")(states, mask=mask, return_attention_scores=True, return_values=True)
    return _pooled(config, attended, scores, values, mask)


def local_attention(make: MakeLayer, config: ClassifierConfig, states: Tensor, mask: Tensor) -> Attended:
    """Apply LocalSelfAttention as a band, at a cost of tokens x window."""
    layer = make("attention")
    if layer.rate > 1:
        return projected_values(make, config, states, mask)
    attended, band, values = layer(states, mask=mask, return_band=True, return_values=True)
    return _pooled(config, attended, band, values, mask, layer.window)


def seq_self_attention(make: MakeLayer, config: ClassifierConfig, states: Tensor, mask: Tensor) -> Attended:
    """Apply SeqSelfAttention, as a band if it has a width."""
    layer = make("attention")
    if layer.attention_width is None:
        return self_attention(make, config, states, mask)
    attended, band = layer(states, mask=mask, return_band=True)
    return _pooled(config, attended, band, states, mask, layer.window)


def projected_output(make: MakeLayer, config: ClassifierConfig, states: Tensor, mask: Tensor) -> Attended:
    """Apply heads with an output projection, which leaves no sum of values per token."""
    attended, scores = make("attention")(states, mask=mask, return_attention_scores=True)
    return _pooled(config, attended, scores, None, mask)


def keras_attention(make: MakeLayer, config: ClassifierConfig, states: Tensor, mask: Tensor) -> Attended:
    """Apply Keras' Attention to the states."""
    attended, scores = make("attention")([states, states], mask=[mask, mask], return_attention_scores=True)
    return _pooled(config, attended, scores, states, mask)


def keras_additive_attention(make: MakeLayer, config: ClassifierConfig, states: Tensor, mask: Tensor) -> Attended:
    """Apply Keras' AdditiveAttention to projections, as in Bahdanau et al. Its inputs are query, value and key."""
    query, key = (_project(config, states, name) for name in ("query", "key"))
    attended, scores = make("attention")([query, states, key], mask=[mask, mask], return_attention_scores=True)
    return _pooled(config, attended, scores, states, mask)


def keras_multi_head(make: MakeLayer, config: ClassifierConfig, states: Tensor, mask: Tensor) -> Attended:
    """Apply a multi-head layer of Keras, which projects its output."""
    states = RemoveMask(name="without_mask")(states)
    attended, scores = make("attention")(states, states, value_mask=mask, return_attention_scores=True)
    return _pooled(config, attended, scores, None, mask)


def scaled_dot_product(make: MakeLayer, config: ClassifierConfig, states: Tensor, mask: Tensor) -> Attended:
    """Project queries and keys, with the states as values."""
    query, key = (_project(config, states, name) for name in ("query", "key"))
    attended, scores = make("attention")([query, key, states], mask=[mask] * 3, return_attention_scores=True)
    return _pooled(config, attended, scores, states, mask)


def residual_scaled_dot_product(make: MakeLayer, config: ClassifierConfig, states: Tensor, mask: Tensor) -> Attended:
    """Stack attentions that pass their scores on (RealFormer)."""
    context, maps = states, []
    previous: list[Tensor] = []
    for level in range(1, depth_of(config) + 1):
        query, key = (_project(config, context, f"{name}_{level}") for name in ("query", "key"))
        inputs = [query, key, context, *previous]
        context, scores, raw = make(f"attention_{level}")(
            inputs, mask=[mask, mask, mask, *(None for _ in previous)], return_attention_scores=True
        )
        previous = [raw]
        maps.append(scores)
    product = AttentionRollout(residual=False, name="product_of_maps")(maps, mask=mask)  # [batch, query, key]
    return _pooled(config, context, product, states, mask)


def transformer(make: MakeLayer, config: ClassifierConfig, states: Tensor, mask: Tensor) -> Attended:
    """Stack Transformer blocks, with a last normalisation after pre-norm ones."""
    maps = []
    for level in range(1, depth_of(config) + 1):
        block = make(f"attention_{level}")
        states, scores = block(states, mask=mask, return_attention_scores=True)
        maps.append(scores)
    if block.norm == "pre":
        states = keras.layers.LayerNormalization(epsilon=block.epsilon, name="last_norm")(states)
    rollout = AttentionRollout(name="rollout")(maps, mask=mask)  # [batch, query, key]
    return _pooled(config, states, rollout, None, mask)


def _project(config: ClassifierConfig, states: Tensor, name: str) -> Tensor:
    return keras.layers.Dense(config.attention_units, use_bias=False, name=name)(states)


def _pooled(
    config: ClassifierConfig,
    attended: Tensor,
    scores: Tensor,
    values: Tensor | None,
    mask: Tensor,
    window: Window | None = None,
) -> Attended:
    """Pool over the queries, and reduce the map with the same coefficients."""
    pooled, share = MaskedPooling(config.pooling, name="pooling")(attended, mask=mask, return_attention_scores=True)
    coefficients = TokenWeights(window, name="token_weights")(scores, share)  # [batch, (heads,) tokens]
    weights = coefficients
    if config.pooling == "sum":
        _, share = MaskedPooling("mean", name="mean_share")(attended, mask=mask, return_attention_scores=True)
    if config.pooling == "sum" or len(scores.shape) == 4:
        head_mean = len(scores.shape) == 4
        weights = TokenWeights(window, head_mean=head_mean, name="mean_token_weights")(scores, share)
    return Attended(pooled, weights, values, None if values is None else coefficients)


def depth_of(config: ClassifierConfig) -> int:
    """Number of layers of a stacked mechanism; a ValueError if it is not an integer of at least 1."""
    depth = config.attention.get("depth", 1 if config.mechanism == "transformer" else 2)
    if not isinstance(depth, int) or depth < 1:
        raise ValueError(f"Expected depth to be an integer of at least 1. Received {depth!r}.")
    return depth
