import csv
from pathlib import Path

import numpy as np
import pytest

from benchmarks.own_data import rivals
from benchmarks.own_data.__main__ import judge
from benchmarks.own_data.tables import TABLES, split
from training.data.corpus import Corpus


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    with (tmp_path / "emotion.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["tweet", "emotion"])
        rows.writerows([f"so {name} number {place}", name] for place in range(40) for name in ("sad", "merry", "cross"))
    return TABLES["emotion"].load(tmp_path)


def test_every_seed_splits_anew_and_no_text_is_lost(corpus: Corpus) -> None:
    one, again, other = (split(corpus, seed) for seed in (1, 1, 2))
    assert one.fingerprint() == again.fingerprint()
    assert one.fingerprint() != other.fingerprint()
    for parts in (one, other):
        assert sorted([*parts.train.texts, *parts.test.texts]) == sorted([*corpus.train.texts, *corpus.test.texts])
        assert np.bincount(parts.test.labels).tolist() == [8, 8, 8]


def test_bags_of_words_learn_and_the_majority_does_not(corpus: Corpus) -> None:
    parts = split(corpus, 1)
    assert rivals.macro_f1(parts.test.labels, rivals.words(parts, 1)) == 1
    assert rivals.macro_f1(parts.test.labels, rivals.characters(parts, 1)) == 1
    assert rivals.macro_f1(parts.test.labels, rivals.majority(parts, 1)) == pytest.approx(1 / 6)


@pytest.mark.parametrize(
    ("table", "auto", "words", "met"),
    [
        ("emotion", (0.70, 0.1, 180), (0.71, 0.9, 1), True),
        ("emotion", (0.69, 0.1, 10), (0.71, 0.9, 1), False),
        ("emotion", (0.70, 0.1, 181), (0.71, 0.9, 1), False),
        ("imbalanced", (0.70, 0.1, 10), (0.71, 0.1, 1), True),
        ("imbalanced", (0.70, 0.1, 10), (0.71, 0.2, 1), False),
    ],
)
def test_the_target_is_the_best_rival_less_a_point(
    table: str, auto: tuple[float, float, float], words: tuple[float, float, float], met: bool
) -> None:
    keys = ("macro_f1", "rare_f1", "seconds")
    figures = {name: dict(zip(keys, values, strict=True)) for name, values in (("auto", auto), ("words", words))}
    assert judge(table, figures) is met
