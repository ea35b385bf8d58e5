"""Metrics of a classifier, from its probabilities."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import confusion_matrix, f1_score, roc_auc_score

CALIBRATION_BINS = 15


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Texts whose highest probability falls into one bin."""

    texts: int
    confidence: float
    accuracy: float


def measure(scores: np.ndarray, labels: np.ndarray) -> dict[str, float | int]:
    """Return the metrics of a bundle's card.

    Args:
        scores: float[texts, labels], calibrated probabilities.
        labels: int[texts].

    Returns:
        texts, accuracy, auc (one against the rest, averaged, for more than two labels), f1 (of label 1, or the mean
        over more than two labels), brier (half the squared distance to the truth, the common form for two labels), ece
        (expected calibration error over 15 bins of equal width), nll (mean -ln p of the true label).
    """
    two = scores.shape[1] == 2
    predicted = scores.argmax(axis=1)
    truth = np.eye(scores.shape[1])[labels]
    return {
        "texts": len(labels),
        "accuracy": float((predicted == labels).mean()),
        "auc": float(roc_auc_score(labels, scores[:, 1]) if two else roc_auc_score(labels, scores, multi_class="ovr")),
        "f1": float(f1_score(labels, predicted) if two else f1_score(labels, predicted, average="macro")),
        "brier": float(((scores - truth) ** 2).sum(axis=1).mean() / 2),
        "ece": expected_calibration_error(scores, labels),
        "nll": float(-np.log(np.maximum((scores * truth).sum(axis=1), np.finfo(np.float64).tiny)).mean()),
    }


def confusion(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the counts of texts, int[label, predicted label]."""
    counts: np.ndarray = confusion_matrix(labels, scores.argmax(axis=1), labels=range(scores.shape[1]))
    return counts


def reliability(scores: np.ndarray, labels: np.ndarray) -> list[ReliabilityBin]:
    """Return the non-empty bins of equal width between 0 and 1, from the least confident to the most."""
    confidence = scores.max(axis=1)
    right = scores.argmax(axis=1) == labels
    position = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    return [
        ReliabilityBin(int(inside.sum()), float(confidence[inside].mean()), float(right[inside].mean()))
        for inside in (position == bin_ for bin_ in range(CALIBRATION_BINS))
        if inside.any()
    ]


def expected_calibration_error(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean of |confidence - accuracy| over the bins, weighted by texts (Guo et al. 2017, equation 3)."""
    return sum(one.texts * abs(one.confidence - one.accuracy) for one in reliability(scores, labels)) / len(labels)
