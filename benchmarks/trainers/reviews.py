"""The reviews as numbers, for those who do not train with us: our tokenizer's, so that all learn from the same ids."""

import time
from dataclasses import dataclass

import numpy as np

from models.tokenizer import Tokenizer
from training.data import Corpus

WORDS = 30_000
LONGEST = 512


@dataclass(frozen=True, slots=True)
class Reviews:
    """Ids int32[tokens] of each text, at most 512 tokens, labels int[texts], and the seconds that took."""

    train_ids: list[np.ndarray]
    train_labels: np.ndarray
    test_ids: list[np.ndarray]
    test_labels: np.ndarray
    vocabulary_size: int
    seconds: float
    processor_seconds: float


def tokenized(corpus: Corpus) -> Reviews:
    """All 25,000 training reviews and the test reviews, with the vocabulary of the former."""
    wall, processor = time.monotonic(), time.process_time()
    tokenizer = Tokenizer.fit(corpus.train.texts, max_words=WORDS)
    train, test = ([tokenizer.encode(text, LONGEST).ids for text in part.texts] for part in (corpus.train, corpus.test))
    return Reviews(
        train,
        corpus.train.labels,
        test,
        corpus.test.labels,
        tokenizer.vocabulary_size,
        time.monotonic() - wall,
        time.process_time() - processor,
    )
