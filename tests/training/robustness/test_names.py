import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.robustness.names import (
    FEMALE_WORDS,
    MALE_WORDS,
    MEN,
    NAMES,
    PROBE_NAMES,
    WOMEN,
    names_of,
    swap,
    swap_words,
)

ALL = {sex: {name for group in NAMES for name in names_of(group, sex)} for sex in (WOMEN, MEN)}
# Each has one counterpart, whose counterpart it is.
ONE_TO_ONE = sorted((FEMALE_WORDS | MALE_WORDS) - {"her", "hers", "him", "his", "ms", "mr"})
PLAIN = ("and", "film", "The", "saw", "a", ",", ".", "<br />", "It's", "sonic", "manner", "heroes", "Sheriff")


def words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text.lower())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("He said it himself.", "She said it herself."),
        ("HER film, Her film, her film", "HIS film, His film, his film"),
        ("I saw her. We gave her the book, and her all.", "I saw him. We gave him the book, and him all."),
        ("It is hers, a friend of hers.", "It is his, a friend of his."),
        (
            "His friend, a friend of his; his \u201cown\u201d film",
            "Her friend, a friend of hers; her \u201cown\u201d film",
        ),
        ("Mr. Smith's wife, he's an actor", "Mrs. Smith's husband, she's an actress"),
        ("the S/he of a manhole, Herman", "the S/he of a manhole, Herman"),
        ("Ladies and gentlemen", "Gentlemen and ladies"),
    ],
)
def test_each_word_becomes_its_counterpart_in_its_case(text: str, expected: str) -> None:
    assert swap_words(text) == expected


@given(st.lists(st.sampled_from([*ONE_TO_ONE, *PLAIN])).map(" ".join))
def test_swapping_the_words_twice_is_no_change(text: str) -> None:
    assert swap_words(swap_words(text)) == text


@given(st.lists(st.sampled_from([*sorted(MALE_WORDS), *PLAIN])).map(" ".join))
def test_no_word_of_the_other_side_is_left(text: str) -> None:
    swapped = words(swap_words(text))
    assert len(swapped) == len(words(text))
    assert not MALE_WORDS & set(swapped)
    assert sum(word in FEMALE_WORDS for word in swapped) == sum(word in MALE_WORDS for word in words(text))


@given(st.integers(0, 2**32), st.lists(st.sampled_from([*PLAIN, "Kevin", "Susan", "Jamal", "he"])).map(" ".join))
def test_names_fit_the_words_and_stay_one_in_a_text(seed: int, text: str) -> None:
    before = re.findall(r"\w+|\S", text)
    after = re.findall(r"\w+|\S", swap(text, np.random.default_rng(seed)))
    turned = "she" in after
    assert "he" not in before or turned != ("he" in after)
    new = {old: name for old, name in zip(before, after, strict=True) if old in ("Kevin", "Susan", "Jamal")}
    assert len(set(new.values())) == len(new)
    assert [new.get(old, name) for old, name in zip(before, after, strict=True)] == after
    if "he" in before:
        assert all(name in ALL[(old == "Susan") ^ turned ^ MEN] for old, name in new.items())


def test_half_of_the_texts_turn_and_every_group_comes_up() -> None:
    generator = np.random.default_rng(1)
    swapped = [swap("Thomas thought he was right.", generator) for _ in range(400)]
    assert 150 < sum(" she " in text for text in swapped) < 250
    first = [text.split()[0] for text in swapped]
    for group in NAMES:
        assert 60 < sum(name in names_of(group, MEN) + names_of(group, WOMEN) for name in first) < 140


def test_no_name_is_of_two_kinds_or_taught_and_measured() -> None:
    names = [
        name
        for lists in (NAMES, PROBE_NAMES)
        for group in lists
        for sex in (0, 1)
        for name in names_of(group, sex, lists)
    ]
    assert len(set(names)) == len(names)
    assert NAMES.keys() == PROBE_NAMES.keys()
    assert all(name[0].isupper() and name.isalpha() for name in names)


def test_more_names_than_a_sex_has_are_no_obstacle() -> None:
    text = " ".join(sorted(ALL[WOMEN])) + " Laura"
    swapped = swap(text, np.random.default_rng(3)).split()
    assert len(swapped) == len(text.split())
