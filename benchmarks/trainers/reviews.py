"""Tokenized reviews for the other trainers, with our tokenizer, so that all learn from the same ids."""

import time
from dataclasses import dataclass

import numpy as np

from models.tokenizer import Tokenizer
from training.data.corpus import LabelledTexts

WORDS = 30_000
LONGEST = 512


@dataclass(frozen=True, slots=True)
class Reviews:
    """Ids int32[tokens] of each text, truncated to 512, labels int[texts], and the time that took."""

    train_ids: list[np.ndarray]
    train_labels: np.ndarray
    test_ids: list[np.ndarray]
    test_labels: np.ndarray
    vocabulary_size: int
    seconds: float
    processor_seconds: float


def tokenized(train: LabelledTexts, test: LabelledTexts) -> Reviews:
    """Tokenize all reviews with a vocabulary from the training reviews."""
    wall, processor = time.monotonic(), time.process_time()
    tokenizer = Tokenizer.fit(train.texts, max_words=WORDS)
    train_ids, test_ids = ([tokenizer.encode(text, LONGEST).ids for text in part.texts] for part in (train, test))
    return Reviews(
        train_ids,
        train.labels,
        test_ids,
        test.labels,
        tokenizer.vocabulary_size,
        time.monotonic() - wall,
        time.process_time() - processor,
    )
