"""Metrics of a classifier, from its probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix, roc_auc_score

FIGURES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "auc": "AUC", "brier": "Brier", "ece": "ECE", "nll": "NLL"}
"""The figures that are shown, and what they are called."""

PARTS = {"test": "Test set", "validation": "Validation", "all": "All rows"}
"""The parts of data that figures are of, and what they are called."""

CALIBRATION_BINS = 15
MOST_LABELS_CONFUSED = 30
"""A card holds the confusion of at most so many labels."""


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Texts whose highest probability falls into one bin."""

    texts: int
    confidence: float
    accuracy: float


def measure(scores: np.ndarray, labels: np.ndarray) -> dict[str, float | int | None]:
    """Return the metrics of a bundle's card.

    Args:
        scores: float[texts, labels], calibrated probabilities.
        labels: int[texts].

    Returns:
        texts, accuracy, macro_f1 (the mean F1 of the labels that the texts have), auc (of a label against the rest, the
        mean over those labels; None if the texts have one label alone), f1 (of label 1; macro_f1 for more than two
        labels), brier (half the squared distance to the truth, the common form for two labels), ece (expected
        calibration error over 15 bins of equal width), nll (mean -ln p of the true label).
    """
    counts = confusion(scores.argmax(axis=1), labels, scores.shape[1])
    truth = np.eye(scores.shape[1])[labels]
    partly = [label for label, texts in enumerate(counts.sum(axis=1)) if 0 < texts < len(labels)]
    return {
        "texts": len(labels),
        "accuracy": float(np.trace(counts) / len(labels)),
        "macro_f1": macro_f1(counts),
        "auc": float(np.mean([roc_auc_score(labels == one, scores[:, one]) for one in partly])) if partly else None,
        "f1": float(_f1(counts)[1]) if len(counts) == 2 else macro_f1(counts),
        "brier": float(((scores - truth) ** 2).sum(axis=1).mean() / 2),
        "ece": expected_calibration_error(scores, labels),
        "nll": 0.0 - float(np.log(np.maximum((scores * truth).sum(axis=1), np.finfo(np.float64).tiny)).mean()),
    }


def measure_labels(scores: np.ndarray, labels: np.ndarray, label_names: Sequence[str]) -> dict[str, Any]:
    """Return the metrics of each label.

    Returns:
        per_label (by name: precision, recall, f1, and support, the number of texts) and, for at most 30 labels,
        confusion (in row i and column j the texts of label i that were given label j).
    """
    counts = confusion(scores.argmax(axis=1), labels, len(label_names))
    hits, given, support = counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1)
    columns = zip(_ratio(hits, given), _ratio(hits, support), _f1(counts), support, strict=True)
    per_label = {
        name: {"precision": float(precision), "recall": float(recall), "f1": float(f1), "support": int(texts)}
        for name, (precision, recall, f1, texts) in zip(label_names, columns, strict=True)
    }
    return {"per_label": per_label} | ({"confusion": counts.tolist()} if len(counts) <= MOST_LABELS_CONFUSED else {})


def confusion(predicted: np.ndarray, labels: np.ndarray, number: int) -> np.ndarray:
    """Return the counts of texts for `number` labels, int[label, predicted label]."""
    counts: np.ndarray = confusion_matrix(labels, predicted, labels=range(number))
    return counts


def macro_f1(counts: np.ndarray) -> float:
    """Return the mean F1 of the labels that any text has, from int[label, predicted label]."""
    return float(_f1(counts)[counts.sum(axis=1) > 0].mean())


def _f1(counts: np.ndarray) -> np.ndarray:
    """F1 of each label, float[labels]; 0 for one that was neither there nor given."""
    return _ratio(2 * counts.diagonal(), counts.sum(axis=0) + counts.sum(axis=1))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return part / np.maximum(whole, 1)


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
