"""Texts are made whose labels follow from their words."""

from typing import Any

import numpy as np
import pytest

from training.config import TeachingConfig
from training.data.corpus import LabelledTexts
from training.fitting.making import Made, make_texts

# Each adjective alone after "is", after "very" and before a noun, as the lexicon wants it.
_REVIEW = "It is {w}. A very {w} thing, {a} {w} film."
TRAIN = LabelledTexts(
    tuple(_REVIEW.format(w=word, a="a") for word in ("superb", "lousy") for _ in range(20)),
    np.repeat([1, 0], 20).astype(np.int32),
)
SENTENCES = ["The songs are superb.", "The songs are lousy, lousy.", "We sat in a boat.", "It is not superb."]


def made(**options: Any) -> dict[str, Made]:
    teaching = TeachingConfig(teachers=("teacher",), **options)
    return make_texts(teaching, TRAIN, SENTENCES, np.array([0.9, 0.2, 0.5, 0.3]), np.random.default_rng(2))


def test_nothing_is_made_unless_asked_for() -> None:
    assert made() == {}


def test_as_many_as_asked_for_of_each_kind() -> None:
    kinds = made(templates=7, turned=1, flipped=5)
    assert {kind: len(texts) for kind, (texts, _) in kinds.items()} == {"templates": 7, "turned": 1, "flipped": 5}
    assert all(len(texts) == len(positive) for texts, positive in kinds.values())


def test_a_turned_sentence_has_the_opposite_of_its_label() -> None:
    texts, positive = made(turned=9)["turned"]
    found = dict(zip(texts, positive, strict=True))
    assert found.pop("The songs are superb, superb.") == pytest.approx(0.5 + 0.8 * 0.3)
    assert found.pop("It is not lousy.") == pytest.approx(0.5 + 0.8 * 0.2)  # its negator is left alone
    [(text, target)] = found.items()
    assert text.startswith("The songs are")
    assert target == pytest.approx(0.5 - 0.8 * 0.4 if text == "The songs are lousy." else 0.1)


def test_a_flipped_text_is_the_surer_the_more_antonyms_it_has() -> None:
    texts, positive = made(flipped=99)["flipped"]
    assert len(texts) == len(TRAIN)
    for text, target in zip(texts, positive, strict=True):
        assert target == pytest.approx(0.68 if "superb" in text else 0.32)
