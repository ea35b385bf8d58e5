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
class Excluded:
    """Texts that were left out of a corpus.

    Attributes:
        file: name of the file that names them.
        names: the names in it.
        labelled: how many texts of `train` were left out: those that are named, and their duplicates.
        unlabelled: how many of `unlabelled`.
    """

    file: str
    names: tuple[str, ...]
    labelled: int
    unlabelled: int

    def facts(self) -> dict[str, str | int]:
        """Return what a card says of it."""
        return {"file": self.file, "train": self.labelled, "unlabelled": self.unlabelled}

    def described(self) -> str:
        """Return a line that says what was left out."""
        return f"left out as named in {self.file}: {self.labelled:,} of train, {self.unlabelled:,} unlabelled"


@dataclass(frozen=True, slots=True)
class Corpus:
    """Data to train and test on.

    Attributes:
        source: name of the file or data set.
        label_names: names of labels 0, 1, ...
        train: texts to learn from, validation included.
        test: texts that a run measures once, drawn from the same table; None where the data have a published test part,
            which training never reads.
        unlabelled: further texts, for word vectors.
        notes: what to tell of the rows that were read, such as those left out.
        names: of the texts of `train`, then of `unlabelled`; empty where texts have none.
        excluded: what `leave_out` left out.
    """

    source: str
    label_names: tuple[str, ...]
    train: LabelledTexts
    test: LabelledTexts | None
    unlabelled: tuple[str, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())
    names: tuple[str, ...] = field(default=())
    excluded: Excluded | None = None

    def all_labelled(self) -> LabelledTexts:
        """Return the texts to learn from, and those of a test part that was drawn from the same table."""
        if self.test is None:
            return self.train
        return LabelledTexts(self.train.texts + self.test.texts, np.concatenate([self.train.labels, self.test.labels]))

    def fingerprint(self) -> str:
        """Return a short hash of every text and label to learn from."""
        return fingerprint_of(self.train)


def fingerprint_of(*parts: LabelledTexts) -> str:
    """Return a short hash of every text and label, in order."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(np.asarray(part.labels, dtype="<i4").tobytes())
        for text in part.texts:
            digest.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    return digest.hexdigest()[:16]


def text_key(text: str) -> bytes:
    """Return a key that is equal for texts that differ in case and white space alone."""
    return hashlib.blake2b(" ".join(text.lower().split()).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def label_counts(labels: Iterable[int], names: Sequence[str]) -> dict[str, int]:
    """Return the number of texts of each label."""
    counts = np.bincount(np.fromiter(labels, dtype=np.int64), minlength=len(names))
    return dict(zip(names, counts.tolist(), strict=True))
