"""The tokenizer's kernel beside its reference in Python: the same tokens of any text."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models import native
from models.native.text import NativeVocabulary
from models.token_rules import CODES, SECOND
from models.tokenizer import Encoding, Tokenizer
from tests.models import texts

WORDS = ("a", "it's", "é", "don't", "br", "<", "!", "ab", "b", "σ", "_x9", "z", "中", "\ud800")
PIECES = [
    *WORDS,
    " ",
    "'",
    "’",
    "<br />",
    "<BR/>",
    "<br",
    "\t\n/>",
    ">",
    "\u0300",
    "İ",
    "ς",
    "\x1c",
    "\x85",
    "😀",
    "A",
    "Z",
    "@",
    "[",
    ".",
]
TEXTS = st.one_of(st.lists(st.sampled_from(PIECES), max_size=30).map("".join), st.text(max_size=60), texts.TEXTS)


@pytest.fixture(scope="module", params=[1, 2], ids=["rules1", "rules2"])
def tokenizers(compiled: None, request: pytest.FixtureRequest) -> tuple[Tokenizer, Tokenizer]:
    in_c = Tokenizer(WORDS, request.param)
    native.use(False)
    in_python = Tokenizer(WORDS, request.param)
    native.use(True)
    assert in_c._native is not None
    assert in_python._native is None
    return in_c, in_python


def columns(encoding: Encoding) -> list[list[int]]:
    return [each.tolist() for each in (encoding.ids, encoding.starts, encoding.ends)]


BEFORE = st.builds(str.__mul__, st.sampled_from([" ", "x", ".", "é ", "x'"]), st.integers(0, 130))


@settings(max_examples=1000, deadline=None)
@given(before=BEFORE, text=TEXTS, max_tokens=st.sampled_from([1, 3, 1000]))
@example(before="", text="", max_tokens=5)
@example(before="", text="a'", max_tokens=5)
@example(before="", text="<br", max_tokens=5)
@example(before=" " * 63, text="a", max_tokens=5)
@example(before=" " * 63, text="'a", max_tokens=5)
@example(before=" " * 60, text="x<br\t />'a" + "a'" * 40, max_tokens=50)
@example(before="", text="<br" + " " * 140 + ">a", max_tokens=5)
def test_it_finds_what_python_does(
    tokenizers: tuple[Tokenizer, Tokenizer], before: str, text: str, max_tokens: int
) -> None:
    assert_same(tokenizers, before + text, max_tokens)


def test_it_does_so_for_every_code_point(tokenizers: tuple[Tokenizer, Tokenizer]) -> None:
    """Those that may join others lead both to the same pattern."""
    kinds = SECOND.kinds
    single = "".join(chr(code) for code in range(CODES) if kinds[code] != kinds.max())
    for first in range(0, len(single), 256):
        for between in ("", "a'", "中"):
            assert_same(tokenizers, between.join(single[first : first + 256]), 10**6)


def assert_same(tokenizers: tuple[Tokenizer, Tokenizer], text: str, max_tokens: int) -> None:
    found, expected = (each.encode(text, max_tokens) for each in tokenizers)
    assert columns(found) == columns(expected)
    assert (found.tokens_total, found.unknown) == (expected.tokens_total, expected.unknown)
    assert found.ids.dtype == found.starts.dtype == found.ends.dtype == np.int32


def test_every_word_of_a_large_vocabulary_is_found(compiled: None) -> None:
    words = [f"w{number}" for number in range(50_000)]
    tokenizer = Tokenizer(words)
    assert tokenizer._native is not None
    encoding = tokenizer.encode(" ".join(words), len(words))
    np.testing.assert_array_equal(encoding.ids, np.arange(2, 50_002))
    assert tokenizer.encode("w50000 W7", 5).ids.tolist() == [1, 9]


def colliding(prefix: str, letters: str, slots: int, count: int) -> list[str]:
    """Words of a prefix and four letters whose hashes in tokenizer.c all lead to slot 0 of `slots`."""
    codes = np.array([ord(letter) for letter in letters], np.uint64)
    columns = [np.full(len(codes) ** 4, ord(letter), np.uint64) for letter in prefix]
    columns += [each.ravel() for each in np.meshgrid(codes, codes, codes, codes, indexing="ij")]
    hashes = np.zeros_like(columns[0])
    for column in columns:
        hashes = (hashes ^ column) * np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(32)
    found = np.flatnonzero(hashes % np.uint64(slots) == 0)[:count]
    assert len(found) == count
    return ["".join(chr(int(column[place])) for column in columns) for place in found]


@pytest.mark.parametrize("letters", ["abcdefghijklmnopqrstuvw", "αβγδεζηθικλμνξοπρτυφχψω"])
@pytest.mark.parametrize("prefix", ["", "wonderfully"])
def test_words_made_to_collide_are_refused_and_read_in_python(compiled: None, prefix: str, letters: str) -> None:
    words = colliding(prefix, letters, 512, 200)
    assert Tokenizer(words[:100])._native is not None
    with pytest.raises(ValueError, match="Expected words that differ in their hashes"):
        NativeVocabulary(words, 2, np.full(128, 8, np.uint8))
    tokenizer = Tokenizer(words)
    assert tokenizer._native is None
    assert tokenizer.encode(f"{words[7]} other {words[199]}", 5).ids.tolist() == [9, 1, 201]


def test_short_and_long_words_are_told_from_their_neighbours(compiled: None) -> None:
    words = ["a", "a\0", "abcdefgh", "abcdefghi", "abcdefghij", "\0", "aé", "abcdefgé"]
    tokenizer = Tokenizer(words)
    assert tokenizer._native is not None
    assert tokenizer.encode("\0", 1).ids.tolist() == [7]
    for text in ("a abcdefgh abcdefghi abcdefghij", "a abcdefgh abcdefghi abcdefghij aé abcdefgé"):
        assert tokenizer.encode(text, 9).ids.tolist() == [2, 4, 5, 6, 8, 9][: len(text.split())]
    assert Tokenizer(["a\0"]).encode("a", 1).ids.tolist() == [1]
    assert tokenizer.encode("abcdefg abcdefgha abcdefghijk", 3).ids.tolist() == [1, 1, 1]


def test_a_text_that_only_the_pattern_can_split_is_left_to_it(tokenizers: tuple[Tokenizer, Tokenizer]) -> None:
    in_c, _ = tokenizers
    assert in_c._native is not None
    assert in_c._native.encode("a\u0300", 5) is None
    assert in_c._native.encode("\U00020000", 5) is None
    assert in_c._native.encode("中", 5) is not None
    assert in_c._native.encode("é", 5) is not None
