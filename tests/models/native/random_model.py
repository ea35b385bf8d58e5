"""Random weights for the forward kernel, and NumPy's outputs for them."""

from collections.abc import Sequence

import numpy as np

Weights = dict[str, np.ndarray]


def random_weights(
    generator: np.random.Generator,
    *,
    kind: str = "lstm",
    vocabulary: int = 30,
    features: int = 6,
    units: int = 16,
    hidden: int = 5,
    labels: int = 2,
    bias: bool = True,
) -> Weights:
    width = {"lstm": 4, "gru": 3}[kind] * units
    shapes: dict[str, tuple[int, ...]] = {"embedding": (vocabulary, features)}
    for direction in ("forward", "backward"):
        shapes[f"{direction}_kernel"] = (features, width)
        shapes[f"{direction}_recurrent"] = (units, width)
        shapes[f"{direction}_bias"] = (width,) if kind == "lstm" else (2, width)
    shapes |= {"attention_kernel": (2 * units, hidden), "attention_query": (hidden, 1)}
    shapes |= {"head_kernel": (2 * units, labels), "head_bias": (labels,)}
    if bias:
        shapes["attention_bias"] = (hidden,)
    weights = {name: generator.normal(scale=0.4, size=shape).astype(np.float32) for name, shape in shapes.items()}
    for name in (
        "forward_recurrent",
        "backward_recurrent",
    ):  # a gain that does not grow with U: else states are chaotic
        weights[name] *= np.float32((16 / units) ** 0.5)
    return weights


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def states_of(weights: Weights, direction: str, ids: Sequence[int]) -> np.ndarray:
    """float64[tokens, U] of one direction: the equations of Keras' LSTM and GRU (reset_after)."""
    kernel, recurrent, bias = (weights[f"{direction}_{name}"].astype(float) for name in ("kernel", "recurrent", "bias"))
    units = len(recurrent)
    state, cell, states = np.zeros(units), np.zeros(units), []
    for token in ids if direction == "forward" else reversed(ids):
        inputs = weights["embedding"][token].astype(float) @ kernel
        if bias.ndim == 1:
            into, forget, candidate, output = np.split(inputs + state @ recurrent + bias, 4)
            cell = sigmoid(forget) * cell + sigmoid(into) * np.tanh(candidate)
            state = sigmoid(output) * np.tanh(cell)
        else:
            one, other = np.split(inputs + bias[0], 3), np.split(state @ recurrent + bias[1], 3)
            update, reset = sigmoid(one[0] + other[0]), sigmoid(one[1] + other[1])
            state = update * state + (1 - update) * np.tanh(one[2] + reset * other[2])
        states.append(state)
    if direction == "backward":
        states.reverse()
    return np.array(states).reshape(-1, units)


def expected_outputs(weights: Weights, ids: Sequence[int], temperature: float) -> tuple[np.ndarray, ...]:
    """Logits, attention and contributions of one text."""
    states = np.concatenate([states_of(weights, direction, ids) for direction in ("forward", "backward")], axis=1)
    hidden = np.tanh(states @ weights["attention_kernel"] + weights.get("attention_bias", 0))
    scores = (hidden @ weights["attention_query"])[:, 0] / temperature
    attention = np.exp(scores - scores.max(initial=-np.inf))
    attention /= attention.sum() if len(ids) else 1
    logits = attention @ states @ weights["head_kernel"] + weights["head_bias"]
    target = 1 if len(logits) == 2 else int(logits.argmax())
    columns = weights["head_kernel"].astype(float)
    contrast = columns[:, target] - np.delete(columns, target, axis=1).mean(axis=1)
    return logits, attention, attention * (states @ contrast)


def random_ngrams(
    generator: np.random.Generator, *, buckets: int = 1009, features: int = 1, labels: int = 2, seen: float = 0.7
) -> Weights:
    """Weights of an attention over n-grams in 8 bits; the part `seen` of the buckets has an attention logit."""
    codes = generator.integers(1, 256, buckets) * (generator.random(buckets) < seen)
    return {
        "ngram_logits": codes.astype(np.uint8),
        "ngram_values": generator.integers(-128, 128, (buckets, features)).astype(np.int8),
        "ngram_logit_range": np.array([-1.3, 0.02], np.float32),
        "ngram_value_step": np.array([0.01], np.float32),
        "head_kernel": generator.normal(size=(features, labels)).astype(np.float32),
        "head_bias": generator.normal(size=labels).astype(np.float32),
    }


def bucket_of(ids: Sequence[int], buckets: int) -> int:
    """The hash of models/layers/ngram_attention.py."""
    state = 0
    for each in map(int, ids):
        state = 130363 * (state % 4096) + 95789 * (state // 4096) + 120371 * (each % 4096) + 84631 * (each // 4096)
        state %= 16777213
    return state % buckets


def expected_of_ngrams(
    weights: Weights, ids: Sequence[int], *, longest: int = 3, scale: float = 10.0, target: int | None = None
) -> tuple[np.ndarray, ...]:
    """Logits, attention and contributions (of label `target`, if given) of one text."""
    buckets, (low, step) = len(weights["ngram_logits"]), weights["ngram_logit_range"].astype(float)
    places: dict[int, list[range]] = {}
    for size in range(1, longest + 1):
        for first in range(len(ids) - size + 1):
            places.setdefault(bucket_of(ids[first : first + size], buckets), []).append(range(first, first + size))
    grams = list(places)
    codes = weights["ngram_logits"][grams].astype(float)
    scores = np.where(codes == 0, -1e4, low + step * codes)
    shares = np.exp(scores - scores.max(initial=-np.inf))
    shares /= shares.sum() if grams else 1
    values = scale * weights["ngram_value_step"] * weights["ngram_values"][grams].astype(float)  # [grams, features]
    kernel = weights["head_kernel"].astype(float)
    logits = shares @ values @ kernel + weights["head_bias"]
    if target is None:
        target = 1 if len(logits) == 2 else int(logits.argmax())
    contrast = kernel[:, target] - np.delete(kernel, target, axis=1).mean(axis=1)
    attention, contributions = np.zeros((2, len(ids)))
    for gram, share, value in zip(grams, shares, values @ contrast, strict=True):
        for place in places[gram]:
            for token in place:
                attention[token] += share / len(places[gram]) / len(place)
                contributions[token] += share * value / len(places[gram]) / len(place)
    return logits, attention, contributions
