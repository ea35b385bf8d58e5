"""How much arithmetic a text takes, and how fast this machine does such arithmetic at best."""

import time
from typing import Any

import numpy as np

_SIZE = 2048
_ENCODER_GATES = {"bilstm": 4, "bigru": 3}


def flops_per_token(config: dict[str, Any]) -> float:
    """Multiplications and additions that the saved graph does a token, of its products alone; `config` is the card's.

    Raises:
        ValueError: an encoder or mechanism that is not counted here.
    """
    inputs, units = config["embedding_dim"], config["encoder_units"]
    encoder, mechanism = config["encoder"], config["mechanism"]
    if mechanism != "additive_pooling" or encoder not in {*_ENCODER_GATES, "convolution", "none"}:
        raise ValueError(f"Expected additive pooling over a known encoder. Received {mechanism!r} over {encoder!r}.")
    if encoder in _ENCODER_GATES:
        products = 2 * _ENCODER_GATES[encoder] * units * (inputs + units)  # both directions
        states = 2 * units
    elif encoder == "convolution":
        products, states = config["kernel_size"] * inputs * units, units
    else:
        products, states = 0, inputs
    attention = states * config["attention_units"] + config["attention_units"] + states  # project, score, pool
    return 2.0 * (products + attention + states * config["labels"])  # the labels: each token's contribution


def gemm_peak_flops(seconds: float) -> float:
    """Operations a second of a large float32 matrix product, on all cores."""
    generator = np.random.default_rng(0)
    left, right = (generator.normal(size=(_SIZE, _SIZE)).astype(np.float32) for _ in range(2))
    best, given_up = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < given_up:
        started = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - started)
    return 2 * _SIZE**3 / best
