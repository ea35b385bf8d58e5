"""Kernels beside each other, and the kernel of a classifier."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from models.native.forward import NativeForward
from models.native.kernel import Kernel, Outputs, Texts
from models.native.ngrams import DTYPES, HEAD, NativeNgrams

_NGRAM_OPTIONS = ("longest", "scale")


class NativeHybrid(Kernel):
    """Computes an attention over states and one over n-grams under one head: `JoinNgrams`.

    Args:
        weights: those of `NativeForward` and of `NativeNgrams`; in `head_kernel` the rows of the states come first.
        temperature: of the scores of the states.
        share: part of the n-grams in the token weights.
        options: of `NativeNgrams`.

    Raises:
        RuntimeError: the kernels are not compiled, or not wanted.
        ValueError: a weight is missing, or of another type or shape; the message says which.
    """

    def __init__(self, weights: Mapping[str, np.ndarray], *, temperature: float, share: float, **options: Any) -> None:
        if missing := sorted({"forward_recurrent", *HEAD} - weights.keys()):
            raise ValueError(f"Expected the weights of a hybrid. Received none of the name {missing}.")
        width, kernel = 2 * len(weights["forward_recurrent"]), weights["head_kernel"]
        states = {name: array for name, array in weights.items() if name not in DTYPES}
        ngrams = {name: array for name, array in weights.items() if name in DTYPES}
        self._states = NativeForward(states | {"head_kernel": kernel[:width]}, temperature=temperature)
        no_bias = np.zeros_like(weights["head_bias"])  # the states' head adds it
        self._ngrams = NativeNgrams(ngrams | {"head_kernel": kernel[width:], "head_bias": no_bias}, **options)
        if not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ValueError(f"Expected a share from 0 to 1. Received {share!r}.")
        self._share = share
        self.labels, self.largest_id = self._states.labels, self._states.largest_id

    def compute(self, texts: Texts, others: np.ndarray | None = None) -> Outputs:
        """Return the outputs for texts; raises as `Kernel.compute` does."""
        ngrams = self._ngrams.compute(texts)
        states = self._states.compute(texts, ngrams.logits)
        if self.labels > 2:  # the highest of both logits names the label that contributions are of
            ngrams = self._ngrams.compute(texts, states.logits)
        return Outputs(
            logits=states.logits,
            attention=(1 - self._share) * states.attention + self._share * ngrams.attention,
            contributions=states.contributions + ngrams.contributions,
            finite=states.finite and ngrams.finite,
        )


def kernel_of(weights: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> Kernel:
    """Return the kernel that computes a classifier.

    Args:
        weights: those in the index of its card.
        config: that of its card.

    Raises:
        RuntimeError: the kernels are not compiled, or not wanted.
        ValueError, TypeError, AttributeError: the weights or the options are not those of such a classifier.
    """
    attention, ngrams = config.get("attention") or {}, config.get("ngrams")
    if config.get("mechanism") == "ngram_attention":
        return NativeNgrams(weights, **_options(attention))
    temperature = attention.get("temperature", 1)
    if ngrams is None:
        return NativeForward(weights, temperature=temperature)
    return NativeHybrid(weights, temperature=temperature, share=config.get("ngram_share", 0.5), **_options(ngrams))


def _options(of_layer: Mapping[str, Any]) -> dict[str, Any]:
    return {name: of_layer[name] for name in _NGRAM_OPTIONS if name in of_layer}
