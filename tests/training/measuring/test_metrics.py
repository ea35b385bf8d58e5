import numpy as np
import pytest

from training.measuring.metrics import confusion, expected_calibration_error, measure, reliability

SCORES = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.4, 0.6]])
LABELS = np.array([0, 1, 1, 0])


def test_two_labels_by_hand() -> None:
    figures = measure(SCORES, LABELS)
    assert figures["texts"] == 4
    assert figures["accuracy"] == 0.5
    assert figures["auc"] == 0.75  # of the 4 pairs of a positive and a negative, 0.3 against 0.6 alone is the wrong way
    assert figures["f1"] == 0.5
    assert figures["brier"] == pytest.approx((0.1**2 + 0.7**2 + 0.2**2 + 0.6**2) / 4)
    assert figures["nll"] == pytest.approx(-np.log([0.9, 0.3, 0.8, 0.4]).mean())


def test_calibration_error_by_hand() -> None:
    # four texts in four bins: |0.9 - 1|, |0.7 - 0|, |0.8 - 1|, |0.6 - 0|
    assert expected_calibration_error(SCORES, LABELS) == pytest.approx((0.1 + 0.7 + 0.2 + 0.6) / 4)


def test_bins_hold_every_text_once_the_surest_included() -> None:
    scores = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    bins = reliability(scores, np.array([0, 0, 0]))
    assert sum(one.texts for one in bins) == 3
    assert (bins[-1].texts, bins[-1].confidence, bins[-1].accuracy) == (2, 1.0, 0.5)


def test_more_labels() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 300)
    scores = np.eye(3)[labels] * 0.6 + generator.dirichlet([1, 1, 1], 300) * 0.4
    figures = measure(scores, labels)
    assert figures["accuracy"] == 1.0
    assert figures["auc"] == 1.0
    assert figures["f1"] == 1.0
    assert confusion(scores, labels).tolist() == np.diag(np.bincount(labels)).tolist()


def test_confusion_has_a_row_for_a_label_that_no_text_has() -> None:
    assert confusion(SCORES[:1], LABELS[:1]).tolist() == [[1, 0], [0, 0]]
