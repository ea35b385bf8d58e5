"""Measure one figure of a layer and its original. Run by `benchmarks.layers`.

    .venv/bin/python -m benchmarks.layer_pairs '{"what": "time", "pair": "seq_additive", "tokens": 128, ...}'

Each figure has its own process, so that they do not affect each other's memory. Both layers of a pair get the same
states without a mask, in inference mode, and return the same outputs, with the map if the pair says so.
"""

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

WARM_TOKENS = 16
SHORTEST_ROUND_SECONDS = 0.02

Run = Callable[[], Any]


class Sizes(NamedTuple):
    """Sizes of both layers of a pair."""

    batch: int
    features: int
    units: int
    heads: int


class Pair(NamedTuple):
    """A layer and its original; each side makes a function of states[batch, tokens, features] from the sizes."""

    original_name: str
    our_name: str
    original: Callable[[Sizes], Callable[[Any], Any]]
    ours: Callable[[Sizes], Callable[[Any], Any]]
    original_is: str = "tf.function"


def _seq(**arguments: Any) -> Pair:
    def original(sizes: Sizes) -> Callable[[Any], Any]:
        from keras_self_attention import SeqSelfAttention

        return SeqSelfAttention(sizes.units, **arguments)

    def ours(sizes: Sizes) -> Callable[[Any], Any]:
        from models.layers import SeqSelfAttention

        return SeqSelfAttention(sizes.units, **arguments)

    told = ", ".join(str(value) for value in arguments.values())
    return Pair(f"keras-self-attention SeqSelfAttention({told})", f"SeqSelfAttention({told})", original, ours)


def _seq_weighted(sizes: Sizes) -> Callable[[Any], Any]:
    from keras_self_attention import SeqWeightedAttention

    return SeqWeightedAttention()


def _our_seq_weighted(sizes: Sizes) -> Callable[[Any], Any]:
    from models.layers import SeqWeightedAttention

    return SeqWeightedAttention()


def _scaled(sizes: Sizes) -> Callable[[Any], Any]:
    from keras_self_attention import ScaledDotProductAttention

    return ScaledDotProductAttention()


def _our_scaled(sizes: Sizes) -> Callable[[Any], Any]:
    from models.layers import ScaledDotProductAttention

    return ScaledDotProductAttention()


def _multi_head(sizes: Sizes) -> Callable[[Any], Any]:
    from keras_multi_head import MultiHeadAttention

    return MultiHeadAttention(sizes.heads, activation=None)


def _our_multi_head(sizes: Sizes, **asked: bool) -> Callable[[Any], Any]:
    from models.layers import MultiHeadAttention

    layer = MultiHeadAttention(sizes.heads)
    return lambda states: layer(states, **asked)


def _keras_dot(sizes: Sizes) -> Callable[[Any], Any]:
    import keras

    layer = keras.layers.Attention()
    return lambda states: layer([states, states], return_attention_scores=True)


def _our_dot(sizes: Sizes) -> Callable[[Any], Any]:
    from models.layers import ScaledDotProductSelfAttention

    layer = ScaledDotProductSelfAttention(scale=1.0)
    return lambda states: layer(states, return_attention_scores=True)


def _keras_additive(sizes: Sizes) -> Callable[[Any], Any]:
    import keras

    layer = keras.layers.AdditiveAttention()
    return lambda states: layer([states, states], return_attention_scores=True)


def _our_additive(sizes: Sizes) -> Callable[[Any], Any]:
    from models.layers import SeqSelfAttention

    layer = SeqSelfAttention(sizes.features)  # Keras' layer has as many units as features, and no kernels
    return lambda states: layer(states, return_attention_scores=True)


def _keras_heads(sizes: Sizes, **asked: bool) -> Callable[[Any], Any]:
    import keras

    layer = keras.layers.MultiHeadAttention(sizes.heads, sizes.features // sizes.heads)
    return lambda states: layer(states, states, **asked)


def _torch_heads(sizes: Sizes, **asked: bool) -> Callable[[Any], Any]:
    import torch

    layer = torch.nn.MultiheadAttention(sizes.features, sizes.heads, batch_first=True).eval()
    return lambda states: layer(states, states, states, average_attn_weights=False, **asked)


def _with_map(
    make: Callable[..., Callable[[Any], Any]], wanted: bool = True
) -> Callable[[Sizes], Callable[[Any], Any]]:
    asked = {_torch_heads: "need_weights"}.get(make, "return_attention_scores")
    return lambda sizes: make(sizes, **{asked: wanted})


_HEADS = "MultiHeadAttention"
PAIRS = {
    "seq_additive": _seq(),
    "seq_multiplicative": _seq(attention_width=None, attention_type="multiplicative"),
    "seq_additive_15": _seq(attention_width=15),
    "seq_multiplicative_15": _seq(attention_width=15, attention_type="multiplicative"),
    "seq_weighted": Pair(
        "keras-self-attention SeqWeightedAttention", "SeqWeightedAttention", _seq_weighted, _our_seq_weighted
    ),
    "scaled_dot_product": Pair(
        "keras-self-attention ScaledDotProductAttention", "ScaledDotProductAttention", _scaled, _our_scaled
    ),
    "multi_head": Pair(f"keras-multi-head {_HEADS}", _HEADS, _multi_head, _our_multi_head),
    "keras_attention": Pair("Keras Attention, map", "ScaledDotProductSelfAttention, map", _keras_dot, _our_dot),
    "keras_additive": Pair("Keras AdditiveAttention, map", "SeqSelfAttention, map", _keras_additive, _our_additive),
    "keras_multi_head": Pair(f"Keras {_HEADS}", _HEADS, _with_map(_keras_heads, False), _our_multi_head),
    "keras_multi_head_map": Pair(
        f"Keras {_HEADS}, map", f"{_HEADS}, map", _with_map(_keras_heads), _with_map(_our_multi_head)
    ),
    "torch_multi_head": Pair(
        "PyTorch MultiheadAttention", _HEADS, _with_map(_torch_heads, False), _our_multi_head, "eager"
    ),
    "torch_multi_head_map": Pair(
        "PyTorch MultiheadAttention, map",
        f"{_HEADS}, map",
        _with_map(_torch_heads),
        _with_map(_our_multi_head),
        "eager",
    ),
}


def runner(pair: Pair, side: str, sizes: Sizes) -> Callable[[int], Run]:
    """Make the layer; return what makes the function to measure for a number of tokens."""
    import numpy as np

    layer = getattr(pair, side)(sizes)
    generator = np.random.default_rng(1)

    def states(tokens: int) -> Any:
        return generator.normal(size=(sizes.batch, tokens, sizes.features)).astype("float32")

    if side == "original" and pair.original_is == "eager":
        import torch

        forward = torch.inference_mode()(layer)
        return lambda tokens: partial(forward, torch.from_numpy(states(tokens)))

    import tensorflow as tf

    layer(tf.constant(states(WARM_TOKENS)))
    compiled = tf.function(lambda given: layer(given), autograph=False)
    return lambda tokens: partial(compiled, tf.constant(states(tokens)))


def seconds(runs: Sequence[Run], repeats: int) -> list[float]:
    """Return the median time of each run, over alternating rounds."""
    for run in runs:
        run()
    rounds: list[list[float]] = [[] for _ in runs]
    calls = [1] * len(runs)
    for repeat in range(repeats + 1):
        for index in sorted(range(len(runs)), reverse=bool(repeat % 2)):
            started = time.perf_counter()
            for _ in range(calls[index]):
                runs[index]()
            taken = (time.perf_counter() - started) / calls[index]
            if repeat == 0:  # sets the calls of each round
                calls[index] = max(1, round(SHORTEST_ROUND_SECONDS / taken))
            else:
                rounds[index].append(taken)
    return [statistics.median(taken) for taken in rounds]


def megabytes(make: Callable[[int], Run], tokens: int) -> float:
    """Return how far a call at this length raises the peak memory of the process above that of a short call."""

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    make(WARM_TOKENS)()
    before = peak()
    make(tokens)()  # once: memory of an earlier call may not be free yet
    return peak() - before


def main() -> None:
    """Print the requested figures as JSON."""
    asked = json.loads(sys.argv[1])
    limit = int(asked["limit_gb"] * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    pair, sizes = PAIRS[asked["pair"]], Sizes(*asked["sizes"])
    makers = [runner(pair, side, sizes) for side in asked["sides"]]
    if asked["what"] == "time":
        figures = seconds([make(asked["tokens"]) for make in makers], asked["repeats"])
    else:
        figures = [megabytes(make, asked["tokens"]) for make in makers]
    print(json.dumps(dict(zip(asked["sides"], figures, strict=True))))


if __name__ == "__main__":
    main()
