"""Probabilities that mean what they say."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

_LOG_TEMPERATURE_BOUNDS = (-3.0, 3.0)


def probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """softmax(logits / temperature): float[texts, labels] -> float64[texts, labels]."""
    scores: np.ndarray = softmax(np.asarray(logits, np.float64) / temperature, axis=-1)
    return scores


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> float:
    """Mean of -ln p(label): logits float[texts, labels], labels int[texts]."""
    scores = log_softmax(np.asarray(logits, np.float64) / temperature, axis=-1)
    return float(-scores[np.arange(len(labels)), labels].mean())


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature under which held-out labels are likeliest.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2. It changes no label.
    """
    found = minimize_scalar(
        lambda log_temperature: negative_log_likelihood(logits, labels, float(np.exp(log_temperature))),
        bounds=_LOG_TEMPERATURE_BOUNDS,
        method="bounded",
    )
    return float(np.exp(found.x))
