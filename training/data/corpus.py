"""Labelled texts."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, slots=True)
class LabelledTexts:
    """Texts and their labels, int32[texts]."""

    texts: tuple[str, ...]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, positions: np.ndarray) -> "LabelledTexts":
        """Return the texts at `positions`, in that order."""
        return LabelledTexts(tuple(self.texts[i] for i in positions), self.labels[positions])


@dataclass(frozen=True, slots=True)
class Corpus:
    """Data to train and test on.

    Attributes:
        source: name of the file or data set.
        label_names: names of labels 0, 1, ...
        train: texts to learn from, validation included.
        test: texts that are measured once.
        unlabelled: further texts, for word vectors.
        notes: what to tell of the rows that were read, such as those left out.
    """

    source: str
    label_names: tuple[str, ...]
    train: LabelledTexts
    test: LabelledTexts
    unlabelled: tuple[str, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())

    def all_labelled(self) -> LabelledTexts:
        """Return the texts to learn from and those of the test set."""
        return LabelledTexts(self.train.texts + self.test.texts, np.concatenate([self.train.labels, self.test.labels]))

    def fingerprint(self) -> str:
        """Return a short hash of every text and label, in order."""
        digest = hashlib.sha256()
        for part in (self.train, self.test):
            digest.update(np.asarray(part.labels, dtype="<i4").tobytes())
            for text in part.texts:
                digest.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
        return digest.hexdigest()[:16]


def label_counts(labels: Iterable[int], names: Sequence[str]) -> dict[str, int]:
    """Return the number of texts of each label."""
    counts = np.bincount(np.fromiter(labels, dtype=np.int64), minlength=len(names))
    return dict(zip(names, counts.tolist(), strict=True))
