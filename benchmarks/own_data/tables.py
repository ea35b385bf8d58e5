"""The tables: texts, labels, and a fresh split for every seed."""

import random
import re
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.tables.table import AS_NAMED, Spelling
from training.data.corpus import Corpus, LabelledTexts
from training.data.load import load_table
from training.data.splits import split_texts

IMDB = "aclImdb_v1.tar.gz"
TEST_SHARE = 0.2
_STARS, _COMMON, _RARE = 5_000, 4_750, 250


@dataclass(frozen=True, slots=True)
class Table:
    """A table to train on.

    Attributes:
        what: described in a few words.
        language: of the texts, for spaCy.
        load: returns all texts and labels, given the folder of the tables.
    """

    what: str
    language: str
    load: Callable[[Path], Corpus]


def _file(name: str, text: str, label: str, spelling: Spelling = AS_NAMED) -> Callable[[Path], Corpus]:
    return lambda folder: load_table(folder / name, text_column=text, label_column=label, spelling=spelling)


def _reviews(folder: Path) -> list[tuple[str, str, str]]:
    """The label, stars and text of every IMDB training review, in random order."""
    found = []
    with tarfile.open(folder / IMDB) as archive:
        for member in archive:
            if parts := re.search(r"train/(neg|pos)/\d+_(\d+)\.txt$", member.name):
                content = archive.extractfile(member)
                assert content is not None
                found.append((parts[1], parts[2], content.read().decode()))
    found.sort()
    random.Random(1).shuffle(found)
    return found


def _stars(folder: Path) -> Corpus:
    drawn = _reviews(folder)[:_STARS]
    return _corpus("stars", [text for _, _, text in drawn], [stars for _, stars, _ in drawn])


def _imbalanced(folder: Path) -> Corpus:
    reviews = _reviews(folder)
    texts = [
        text
        for wanted, count in (("pos", _COMMON), ("neg", _RARE))
        for text in [text for label, _, text in reviews if label == wanted][:count]
    ]
    return _corpus("imbalanced", texts, ["positive"] * _COMMON + ["negative"] * _RARE)


TABLES = {
    "emotion": Table("tweets, 4 emotions", "en", _file("emotion.csv", "tweet", "emotion")),
    "waimai": Table("Chinese reviews, 2 labels", "zh", _file("waimai.csv", "review", "label")),
    "spam": Table(
        "messages, 13% spam", "en", _file("spam_latin1.csv", "v2", "v1", Spelling.of_options("latin-1", None, False))
    ),
    "stars": Table("IMDB, 8 ratings", "en", _stars),
    "imbalanced": Table("IMDB, 5% negative", "en", _imbalanced),
}


def split(corpus: Corpus, seed: int) -> Corpus:
    """Return the corpus with another fifth of it as the test set, stratified by label."""
    train, test = split_texts(corpus.all_labelled(), corpus.label_names, TEST_SHARE, seed, Path(corpus.source))
    return Corpus(corpus.source, corpus.label_names, train, test)


def test_of(corpus: Corpus) -> LabelledTexts:
    """Return the test part of a corpus that `split` returned."""
    assert corpus.test is not None
    return corpus.test


def _corpus(name: str, texts: list[str], labels: list[str]) -> Corpus:
    names = tuple(sorted(set(labels)))
    whole = LabelledTexts(tuple(texts), np.array([names.index(label) for label in labels], np.int32))
    return Corpus(name, names, whole, whole.take(np.arange(0)))
