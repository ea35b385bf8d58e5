"""Baselines: the figures that a classifier must beat."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression

from models.tokenizer import Tokenizer
from training.data.corpus import LabelledTexts
from training.measuring.metrics import confusion, macro_f1

_MIN_TEXTS = 2  # rarer words and pairs are left out
_MAX_WORDS = 1 << 20
_COLUMNS = 16_777_213  # a prime; two pairs in one column are one
_WHOLE_TEXT = 1 << 30
_INVERSE_PENALTY = 10.0


def measure_baselines(
    train: LabelledTexts, held_out: LabelledTexts, label_names: Sequence[str], folds: np.ndarray | None = None
) -> dict[str, Any]:
    """Fit two baselines on `train` and measure them on `held_out`.

    Args:
        train: texts to learn from.
        held_out: texts to measure on.
        label_names: names of labels 0, 1, ...
        folds: int[texts]; with these `held_out` is not used: each fold of `train` is predicted from all others.

    Returns:
        accuracy and macro_f1 of `majority`, which always gives the most common label, and of `bag_of_words`, the
        logistic regression of `predict_by_words`.
    """
    measured = held_out if folds is None else train
    figures: dict[str, Any] = {}
    for name, predict in {"majority": _predict_majority, "bag_of_words": predict_by_words}.items():
        predicted = np.zeros(len(measured), np.int64)
        if folds is None:
            predicted[:] = predict(train, held_out)
        else:
            for fold in np.unique(folds):
                seen, left_out = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
                predicted[left_out] = predict(train.take(seen), train.take(left_out))
        counts = confusion(predicted, measured.labels, len(label_names))
        figures[name] = {"accuracy": float(np.trace(counts) / len(measured)), "macro_f1": macro_f1(counts)}
    figures["majority"]["label"] = label_names[int(np.bincount(train.labels).argmax())]
    return figures


def _predict_majority(train: LabelledTexts, test: LabelledTexts) -> np.ndarray:
    return np.full(len(test), np.bincount(train.labels).argmax())


def predict_by_words(train: LabelledTexts, test: LabelledTexts) -> np.ndarray:
    """Predict the labels of `test`, int[texts], by logistic regression on TF-IDF of words and pairs of neighbours.

    A configuration has no say: whole texts count, and all words that occur twice. Hashed columns take half the time of
    scikit-learn's vectorizer on long texts.
    """
    tokenizer = Tokenizer.fit(train.texts, max_words=_MAX_WORDS, min_count=_MIN_TEXTS)
    counts = _count(tokenizer, train.texts)
    kept = np.flatnonzero(np.bincount(counts.indices) >= _MIN_TEXTS)
    if len(kept) == 0 or len(np.unique(train.labels)) == 1:
        return _predict_majority(train, test)
    tfidf = TfidfTransformer(sublinear_tf=True)
    classifier = LogisticRegression(C=_INVERSE_PENALTY, solver="newton-cg")
    classifier.fit(tfidf.fit_transform(counts[:, kept]), train.labels)
    predicted: np.ndarray = classifier.predict(tfidf.transform(_count(tokenizer, test.texts)[:, kept]))
    return predicted


def _count(tokenizer: Tokenizer, texts: Sequence[str]) -> csr_array:
    """Count the words and pairs of neighbours in each text: float64[texts, columns]."""
    ids = [tokenizer.encode(text, _WHOLE_TEXT).ids for text in texts]
    rows = np.repeat(np.arange(len(ids), dtype=np.int32), [len(one) for one in ids])
    words = np.concatenate(ids)
    pairs = (words[:-1].astype(np.int64) * tokenizer.vocabulary_size + words[1:]) % _COLUMNS
    together = rows[1:] == rows[:-1]
    rows = np.concatenate([rows, rows[1:][together]])
    columns = np.concatenate([words, pairs[together].astype(np.int32)])
    counts = csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(ids), _COLUMNS))
    counts.sum_duplicates()
    return counts
