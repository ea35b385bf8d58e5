import sys

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from models.normalize import normalize
from models.token_rules import CODES, FIRST, SECOND, TokenRules, spans_by_kind
from tests.models.texts import TEXTS

BOTH = pytest.mark.parametrize("rules", [FIRST, SECOND], ids=["first", "second"])
BEFORE_FLAGS = regex.compile(
    r"<br\s*/?>(*SKIP)(*FAIL)|\w++(?:['’]\w++)*+|[!-/:-@\[-`{-~]|\p{Grapheme_Cluster_Break=Prepend}|(?=\S)\X"
)
"""The first rules before flags were spelt out: right, but in the square of the time."""


@settings(max_examples=1000, deadline=None)
@given(st.text("🇫🇷a.' …👩©\u200d\ufe0f\u0301\u0600\u0903\u0915\u094d🏽\u1112\u200b", max_size=14))
def test_flags_spelt_out_give_the_same_tokens(text: str) -> None:
    expected = [match.span() for match in BEFORE_FLAGS.finditer(text)]
    starts, ends = FIRST.spans_by_pattern(text)
    assert list(zip(starts.tolist(), ends.tolist(), strict=True)) == expected


NEIGHBOURS = st.lists(
    st.sampled_from(["<br", "/>", "<br />", "\r\n", "😀", "中", "か", "ာ"])
    | st.sampled_from("aB_9'’!“é… ©\x0b\x1c\x00\x7f\x85\xa0\xad\u200b\u2028\u0301\u0600\u1100")
    | st.characters(max_codepoint=127)
    | st.characters(max_codepoint=CODES + 16, exclude_categories=["Mn", "Mc", "Me"])
).map("".join)


def assert_kinds_find_what_the_pattern_finds(rules: TokenRules, text: str) -> None:
    kinds = rules.kinds_in(text)
    if kinds is None:
        assert not text.isascii()
        return
    for quick, general in zip(spans_by_kind(kinds), rules.spans_by_pattern(text), strict=True):
        np.testing.assert_array_equal(quick, general)


@BOTH
@settings(max_examples=600)
@given(TEXTS | NEIGHBOURS)
def test_kinds_of_characters_find_the_tokens_that_the_pattern_finds(rules: TokenRules, text: str) -> None:
    assert_kinds_find_what_the_pattern_finds(rules, text.lower())


@BOTH
def test_kinds_are_right_for_every_code_point(rules: TokenRules) -> None:
    """Between letters, apostrophes, symbols and its own neighbours."""
    single = "".join(chr(code) for code in range(CODES) if rules.kinds[code] != rules.kinds.max())
    for first in range(0, len(single), 4096):
        for between in ("", "'", "a'"):
            assert_kinds_find_what_the_pattern_finds(rules, between.join(single[first : first + 4096]))


def test_most_text_needs_no_pattern() -> None:
    for text in ("“naïve” café – ‘don’t’… ½ £5\x96 русский עברית", "😀 日本語、한국어"):
        assert FIRST.kinds_in(text) is not None
        assert SECOND.kinds_in(text) is not None
    for text in ("e\u0301", "👍🏽", "नमस्ते", "\u200d", chr(sys.maxunicode)):
        assert FIRST.kinds_in(text) is None
        assert SECOND.kinds_in(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("我很喜欢。abc", ["我", "很", "喜", "欢", "。", "abc"]),
        ("キャー 々〇", ["キ", "ャ", "ー", "々", "〇"]),
        ("ไม่ชอบ", ["ไ", "ม่", "ช", "อ", "บ"]),
        ("นํ้า", ["นํ้", "า"]),
        ("น้ํา", ["น้ํา"]),
        ("ບໍ່", ["ບໍ່"]),
        ("ကျွန်တော်", ["ကျွ", "န်", "တော်"]),
        ("ខ្មែរ", ["ខ្មែ", "រ"]),
        ("한국어 영화", ["한국어", "영화"]),
        ("नमस्ते", ["नमस्ते"]),
        ("👩\u200d👩\u200d👧👍🏽🇫🇷🇩🇪", ["👩\u200d👩\u200d👧", "👍🏽", "🇫🇷", "🇩🇪"]),
        ("1\u20e32\u20e3#\u20e3 a1\u20e3b 10", ["1\u20e3", "2\u20e3", "#\u20e3", "a", "1\u20e3", "b", "10"]),
        ("don't 'n' a1", ["don't", "'", "n", "'", "a1"]),
    ],
)
def test_the_second_rules_by_hand(text: str, expected: list[str]) -> None:
    assert normalize(text) == (text, None)
    starts, ends = SECOND.spans(text)
    assert [text[start:end] for start, end in zip(starts, ends, strict=True)] == expected
