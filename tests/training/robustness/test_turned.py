"""Texts are turned round by antonyms and negators alone."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.robustness.turned import flip, has_negator, negate


def generator() -> np.random.Generator:
    return np.random.default_rng(4)


def test_polar_words_become_antonyms_in_their_case() -> None:
    text, flips = flip("A BAD film. Enjoyable? No: enjoyed by few, and not-bad-at-all.", generator())
    assert flips == 3
    assert re.fullmatch("A GOOD film. (Tedious|Unbearable)[?] No: loathed by few, and not-bad-at-all.", text)
    assert flip("Two hours in a boat.", generator()) == ("Two hours in a boat.", 0)


@given(st.text(max_size=80))
def test_all_but_the_words_that_are_replaced_stays(text: str) -> None:
    """Antonyms are words, so what lies between words is as before."""
    flipped, flips = flip(text, generator())
    assert (flipped == text) == (not flips)
    assert re.sub(r"[a-z]+", "", flipped, flags=re.IGNORECASE) == re.sub(r"[a-z]+", "", text, flags=re.IGNORECASE)


def test_a_pair_leads_back() -> None:
    once, _ = flip("good and enjoyed", generator())
    assert flip(once, generator())[0] == "good and enjoyed"


@pytest.mark.parametrize(
    ("sentence", "rest"),
    [
        ("It is a dull film.", " a dull film."),
        ("The songs were very dull indeed.", " very dull indeed."),
        ("He was tall; it was dull.", " dull."),
    ],
)
def test_one_judgement_is_negated(sentence: str, rest: str) -> None:
    negated = negate(sentence, {"dull"}, generator())
    assert negated is not None
    assert negated.endswith(rest)
    assert has_negator(negated) or "anything but" in negated
    assert len(negated) > len(sentence)


@pytest.mark.parametrize("sentence", ["It is not dull.", "It isn’t a dull film.", "A dull film.", "It is a film."])
def test_nothing_is_negated_twice_or_without_a_judgement(sentence: str) -> None:
    assert negate(sentence, {"dull"}, generator()) is None
