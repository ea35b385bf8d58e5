"""The rivals of `auto`: the majority, bags of words, and spaCy in its own environment."""

import json
import subprocess
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split

from benchmarks.own_data.tables import test_of
from benchmarks.serving.contenders import install
from training.data.corpus import Corpus

HERE = Path(__file__).parent
_PENALTIES = (1.0, 5.0, 25.0, 125.0)  # C of the logistic regression
_VALIDATION_SHARE = 0.1


def macro_f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Return the mean F1 of the labels."""
    return float(f1_score(labels, predicted, average="macro", zero_division=0))


def majority(corpus: Corpus, seed: int) -> np.ndarray:
    """Predict the most common label, int[test texts]."""
    return np.full(len(test_of(corpus)), np.bincount(corpus.train.labels).argmax())


def words(corpus: Corpus, seed: int) -> np.ndarray:
    """Predict by TF-IDF of words and word pairs and logistic regression, int[test texts]."""
    return _bag(corpus, seed, TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", sublinear_tf=True))


def characters(corpus: Corpus, seed: int) -> np.ndarray:
    """Predict by TF-IDF of 2 to 5 characters in a row and logistic regression, int[test texts]."""
    return _bag(corpus, seed, TfidfVectorizer(analyzer="char", ngram_range=(2, 5), min_df=2, sublinear_tf=True))


def _bag(corpus: Corpus, seed: int, vectorizer: TfidfVectorizer) -> np.ndarray:
    """Choose C by macro-F1 on a tenth of the training part, then train on all of it."""
    vectors = vectorizer.fit_transform(corpus.train.texts)
    labels = corpus.train.labels
    train, validation = train_test_split(
        np.arange(len(labels)), test_size=_VALIDATION_SHARE, random_state=seed, stratify=labels
    )

    def fit(penalty: float, rows: np.ndarray) -> LogisticRegression:
        return LogisticRegression(C=penalty, max_iter=300, tol=1e-3).fit(vectors[rows], labels[rows])

    def on_validation(penalty: float) -> float:
        return macro_f1(labels[validation], fit(penalty, train).predict(vectors[validation]))

    best = fit(max(_PENALTIES, key=on_validation), np.arange(len(labels)))
    predicted: np.ndarray = best.predict(vectorizer.transform(test_of(corpus).texts))
    return predicted


def spacy(corpus: Corpus, seed: int, language: str, home: Path) -> np.ndarray:
    """Predict by spaCy's text categorizer, int[test texts]; `home` is the folder of its environment."""
    task = {
        "language": language,
        "seed": seed,
        "labels": [str(place) for place in range(len(corpus.label_names))],
        "train": [list(corpus.train.texts), corpus.train.labels.tolist()],
        "test": list(test_of(corpus).texts),
    }
    done = subprocess.run(
        [str(install(HERE / "requirements.in", home) / "python"), str(HERE / "spacy_textcat.py")],
        input=json.dumps(task),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return np.array(json.loads(done.stdout))
