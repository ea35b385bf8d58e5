"""How each kind of attention is applied to states: what it leaves for the head, and what it says of the tokens."""

from collections.abc import Callable
from typing import NamedTuple

import keras

from models.config import ClassifierConfig
from models.layers import AttentionRollout, MaskedPooling, RemoveMask, TokenWeights
from models.masking import Tensor
from models.windows import Window

MakeLayer = Callable[[str], keras.layers.Layer]  # the layer of a mechanism, by the name it shall have


class Attended(NamedTuple):
    """What an attention leaves for the head, and what it says of the tokens.

    Attributes:
        pooled: float[batch, features].
        weights: float[batch, tokens], summing to 1 over the real tokens.
        values: float[batch, tokens, features], of which `pooled` is a weighted sum; None where it is not one.
        coefficients: by which it is, float[batch, tokens] or float[batch, heads, tokens].
    """

    pooled: Tensor
    weights: Tensor
    values: Tensor | None = None
    coefficients: Tensor | None = None


def count_alike(make: MakeLayer, config: ClassifierConfig, states: Tensor, mask: Tensor) -> Attended:
    """Every token counts alike, and nothing is learned: what shows whether looking matters."""
    _, weights = make("attention")(states, mask=mask, return_attention_scores=True)
    pooled, coefficients = MaskedPooling(config.pooling, name="pooling")(
        states, mask=mask, return_attention_scores=True
    )
    return Attended(pooled, weights, states, coefficients)


def pool(make: MakeLayer, config: ClassifierConfig, states: Tensor, mask: Tensor) -> Attended:
    """The mechanism pools by itself."""
    pooled, weights = make("attention")(states, mask=mask, return_attention_scores=True)
    return Attended(pooled, weights, states, weights)


def look_up(make: MakeLayer, config: ClassifierConfig, ids: Tensor, mask: Tensor) -> Attended:
    """Attention over the n-grams of ids int32[batch, tokens]; each token's value is its share of the sum."""
    pooled, weights, values = make("attention")(ids, mask=mask, return_attention_scores=True, return_values=True)
    _, ones = MaskedPooling("sum", name="pooling")(values, mask=mask, return_attention_scores=True)
    return Attended(pooled, weights, values, ones)


def look(make: MakeLayer, config: ClassifierConfig, states: Tensor, mask: Tensor) -> Attended:
    """A map over the states as they are."""
    attended, scores = make("attention")(states, mask=mask, return_attention_scores=True)
    return _pooled(config, attended, scores, states, mask)


def look_projected(make: MakeLayer, config: ClassifierConfig, states: Tensor, mask: Tensor) -> Attended:
    """A map, or one for each head, over values that the layer makes of the states."""
    attended, scores, values = make("attention")(states, mask=mask, return_attention_scores=True, return_values=True)
    return _pooled(config, attended, scores, values, mask)


def look_nearby(make: MakeLayer, config: ClassifierConfig, states: Tensor, mask: Tensor) -> Attended:
    """The map of a local attention, as a band: its cost grows with the window and not with the text."""
    layer = make("attention")
    if layer.rate > 1:
        return look_projected(make, config, states, mask)
    attended, band, values = layer(states, mask=mask, return_band=True, return_values=True)
    return _pooled(config, attended, band, values, mask, layer.window)


def look_by_pairs(make: MakeLayer, config: ClassifierConfig, states: Tensor, mask: Tensor) -> Attended:
    """SeqSelfAttention, whose map is a band if it has a width."""
    layer = make("attention")
    if layer.attention_width is None:
        return look(make, config, states, mask)
    attended, band = layer(states, mask=mask, return_band=True)
    return _pooled(config, attended, band, states, mask, layer.window)


def look_beyond(make: MakeLayer, config: ClassifierConfig, states: Tensor, mask: Tensor) -> Attended:
    """Heads whose finds are projected together: what a token adds is no longer told apart."""
    attended, scores = make("attention")(states, mask=mask, return_attention_scores=True)
    return _pooled(config, attended, scores, None, mask)


def ask_keras(make: MakeLayer, config: ClassifierConfig, states: Tensor, mask: Tensor) -> Attended:
    """Keras' own Attention over the states as they are."""
    attended, scores = make("attention")([states, states], mask=[mask, mask], return_attention_scores=True)
    return _pooled(config, attended, scores, states, mask)


def ask_keras_of_projections(make: MakeLayer, config: ClassifierConfig, states: Tensor, mask: Tensor) -> Attended:
    """Keras' own AdditiveAttention, which is Bahdanau's once there are projections before it. Values come second."""
    query, key = (_project(config, states, name) for name in ("query", "key"))
    attended, scores = make("attention")([query, states, key], mask=[mask, mask], return_attention_scores=True)
    return _pooled(config, attended, scores, states, mask)


def ask_keras_heads(make: MakeLayer, config: ClassifierConfig, states: Tensor, mask: Tensor) -> Attended:
    """Keras' own layers of several heads, which project what the heads find."""
    states = RemoveMask(name="without_mask")(states)
    attended, scores = make("attention")(states, states, value_mask=mask, return_attention_scores=True)
    return _pooled(config, attended, scores, None, mask)


def look_from_projections(make: MakeLayer, config: ClassifierConfig, states: Tensor, mask: Tensor) -> Attended:
    """Queries and keys are projected, values are the states as they are."""
    query, key = (_project(config, states, name) for name in ("query", "key"))
    attended, scores = make("attention")([query, key, states], mask=[mask] * 3, return_attention_scores=True)
    return _pooled(config, attended, scores, states, mask)


def look_again(make: MakeLayer, config: ClassifierConfig, states: Tensor, mask: Tensor) -> Attended:
    """Stacked attentions that hand their scores on (RealFormer), each over what the one before found."""
    found, maps = states, []
    carried: list[Tensor] = []
    for level in range(1, depth_of(config) + 1):
        query, key = (_project(config, found, f"{name}_{level}") for name in ("query", "key"))
        inputs = [query, key, found, *carried]
        found, scores, raw = make(f"attention_{level}")(
            inputs, mask=[mask, mask, mask, *(None for _ in carried)], return_attention_scores=True
        )
        carried = [raw]
        maps.append(scores)
    through = AttentionRollout(residual=False, name="product_of_maps")(maps, mask=mask)  # [batch, query, key]
    return _pooled(config, found, through, states, mask)


def encode_in_blocks(make: MakeLayer, config: ClassifierConfig, states: Tensor, mask: Tensor) -> Attended:
    """Stacked transformer blocks; pre-norm ones leave their sum to a last normalisation."""
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
    """Pool over the query positions, and read the map of the mechanism in the same proportion."""
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
    """How many layers of a stacked mechanism lie on each other.

    Raises:
        ValueError: no whole number of at least 1.
    """
    depth = config.attention.get("depth", 1 if config.mechanism == "transformer" else 2)
    if not isinstance(depth, int) or depth < 1:
        raise ValueError(f"Expected depth to be a whole number of at least 1. Received {depth!r}.")
    return depth
