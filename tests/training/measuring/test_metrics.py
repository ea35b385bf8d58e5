import numpy as np
import pytest

from training.measuring.metrics import (
    MOST_LABELS_CONFUSED,
    expected_calibration_error,
    measure,
    measure_labels,
    reliability,
)

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
    assert measure_labels(scores, labels, "abc")["confusion"] == np.diag(np.bincount(labels)).tolist()


def test_figures_of_labels_by_hand() -> None:
    scores = np.eye(3)[[0, 0, 0, 1, 1, 2]]
    figures = measure_labels(scores, np.array([0, 0, 1, 1, 2, 0]), ("a", "b", "c"))
    assert figures["confusion"] == [[2, 0, 1], [1, 1, 0], [0, 1, 0]]
    assert figures["per_label"] == {
        "a": pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "support": 3}),
        "b": pytest.approx({"precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2, "support": 2}),
        "c": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1},
    }
    assert measure(scores, np.array([0, 0, 1, 1, 2, 0]))["macro_f1"] == pytest.approx((2 / 3 + 1 / 2) / 3)


def test_labels_that_no_text_has_count_for_nothing() -> None:
    labels = measure_labels(SCORES[:1], LABELS[:1], ("negative", "positive"))
    assert labels["confusion"] == [[1, 0], [0, 0]]
    assert labels["per_label"]["positive"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    figures = measure(SCORES[:1], LABELS[:1])
    assert (figures["macro_f1"], figures["auc"]) == (1.0, None)
    three = np.insert(SCORES, 1, 0.0, axis=1)  # a label that no text has in between
    assert measure(three, LABELS * 2)["auc"] == measure(SCORES, LABELS)["auc"]


def test_a_card_is_spared_the_confusion_of_very_many_labels() -> None:
    many = MOST_LABELS_CONFUSED + 1
    figures = measure_labels(np.eye(many), np.arange(many), [str(label) for label in range(many)])
    assert set(figures) == {"per_label"}
