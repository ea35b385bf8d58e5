from pathlib import Path

import numpy as np
import pytest

from training.data.corpus import LabelledTexts
from training.data.imdb import load_imdb, load_imdb_test
from training.measuring.baselines import measure_baselines, predict_by_words


def texts(*rows: tuple[str, int]) -> LabelledTexts:
    return LabelledTexts(tuple(text for text, _ in rows), np.array([label for _, label in rows], dtype=np.int32))


def test_the_majority_by_hand() -> None:
    train = texts(*[("a b", 0)] * 2, *[("c d", 1)] * 3)
    test = texts(("x", 0), ("x", 1), ("x", 1), ("x", 1))
    figures = measure_baselines(train, test, ("no", "yes"))
    assert figures["majority"] == pytest.approx({"accuracy": 0.75, "macro_f1": 6 / 7 / 2, "label": "yes"})


def test_words_are_learned(imdb_folder: Path) -> None:
    corpus = load_imdb(imdb_folder)
    assert (
        measure_baselines(corpus.train, load_imdb_test(imdb_folder), corpus.label_names)["bag_of_words"]["accuracy"]
        >= 0.9
    )


def test_pairs_of_words_are_learned_and_never_across_texts() -> None:
    good, bad = ("not bad but good", 1), ("not good but bad", 0)
    assert predict_by_words(texts(*[good, bad] * 20), texts(good, bad)).tolist() == [1, 0]
    # "b a" stands in no text, only where one text ends and the next begins
    train = texts(*[("a b", 1), ("b", 0), ("a", 0)] * 20)
    assert predict_by_words(train, texts(("a b", 1), ("a", 0))).tolist() == [1, 0]


@pytest.mark.parametrize(
    "train",
    [texts(("one", 1), ("two", 0), ("three", 1)), texts(("same", 1), ("same", 1)), texts(("", 1), ("", 0), ("", 1))],
    ids=["no-word-twice", "one-label", "no-words"],
)
def test_without_anything_to_learn_it_is_the_majority(train: LabelledTexts) -> None:
    assert predict_by_words(train, texts(("one", 0), ("", 0))).tolist() == [1, 1]
