"""The tokenizer's loop in C beside the one in Python: the same tokens of any text."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models import native
from models.tokenizer import Encoding, Tokenizer

WORDS = ("a", "it's", "é", "don't", "br", "<", "!", "ab", "b", "σ", "_x9", "中", "\ud800")
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
    ".",
]
TEXTS = st.one_of(st.lists(st.sampled_from(PIECES), max_size=30).map("".join), st.text(max_size=60))


@pytest.fixture(scope="module")
def tokenizers(compiled: None) -> tuple[Tokenizer, Tokenizer]:
    in_c = Tokenizer(WORDS)
    native.use(False)
    in_python = Tokenizer(WORDS)
    native.use(True)
    assert in_c._native is not None
    assert in_python._native is None
    return in_c, in_python


def columns(encoding: Encoding) -> list[list[int]]:
    return [each.tolist() for each in (encoding.ids, encoding.starts, encoding.ends)]


@settings(max_examples=500, deadline=None)
@given(text=TEXTS, max_tokens=st.sampled_from([1, 3, 1000]))
@example(text="", max_tokens=5)
@example(text="a'", max_tokens=5)
@example(text="<br", max_tokens=5)
def test_it_finds_what_python_does(tokenizers: tuple[Tokenizer, Tokenizer], text: str, max_tokens: int) -> None:
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


def test_words_with_one_hash_are_told_from_each_other(compiled: None) -> None:
    both = Tokenizer(["declinate", "macallums"])  # of one length too, and so of one place
    assert both._native is not None
    for text in ("macallums declinate", "macallums declinate é"):  # in bytes, in code points
        assert both.encode(text, 2).ids.tolist() == [3, 2]
        assert Tokenizer(["declinate"]).encode(text, 2).ids.tolist() == [1, 2]


def test_a_text_that_only_the_pattern_can_split_is_left_to_it(tokenizers: tuple[Tokenizer, Tokenizer]) -> None:
    in_c, _ = tokenizers
    assert in_c._native is not None
    assert in_c._native.encode("a\u0300", 5) is None
    assert in_c._native.encode("中", 5) is None
    assert in_c._native.encode("é", 5) is not None
