"""Softmax with a temperature, and the temperature that calibrates it."""

import numpy as np


def log_probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return ln softmax(logits / temperature): float[..., labels] -> float64[..., labels], never clipped."""
    scaled = np.asarray(logits, np.float64) / temperature
    scaled = scaled - scaled.max(axis=-1, keepdims=True)
    found: np.ndarray = scaled - np.log(np.exp(scaled).sum(axis=-1, keepdims=True))
    return found


def probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return softmax(logits / temperature): float[..., labels] -> float64[..., labels]."""
    found: np.ndarray = np.exp(log_probabilities(logits, temperature))
    return found


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> float:
    """Return the mean of -ln p(label): logits float[texts, labels], labels int[texts]."""
    return float(-log_probabilities(logits, temperature)[np.arange(len(labels)), labels].mean())


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature under which held-out labels are likeliest.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2. It changes no label. Golden section over
    ln(temperature) in [-3, 3], to 1e-6: the likelihood has one maximum there.
    """
    low, high, golden = -3.0, 3.0, (5**0.5 - 1) / 2
    while high - low > 1e-6:
        left, right = high - golden * (high - low), low + golden * (high - low)
        if negative_log_likelihood(logits, labels, float(np.exp(left))) < negative_log_likelihood(
            logits, labels, float(np.exp(right))
        ):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))
