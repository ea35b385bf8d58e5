import json
import random
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.tokenizer import (
    FIRST_WORD_ID,
    PAD_ID,
    UNKNOWN_ID,
    Encoding,
    Tokenizer,
    _kinds,
    _lower,
    _spans_by_kind,
    _spans_by_pattern,
    split,
)

WORDS = ("the", "film", "don't", "naïve", "!", "<", "👩‍👩‍👧", "i", "σ", "οδοσ", "שלום", "e\u0301")
TOKENIZER = Tokenizer(WORDS)
EVERYTHING = 10**6

# What text on the web is made of, besides letters.
PIECES = st.sampled_from(
    [
        *("the film", "Don’t", "DON'T", "rock'n'roll", "'quoted'", "snake_case", "3.14", "e-mail", "…", "?!", "--"),
        *(
            "<br>",
            "<BR>",
            "<br/>",
            "<br />",
            "<bR\t/>",
            "<br\n>",
            "<br",
            "br>",
            "<br/",
            "<b>",
            "<br class='x'>",
            "<br//>",
        ),
        *("👩‍👩‍👧", "👍🏽", "🇫🇷", "🇫", "1️⃣", "❤️", "🏴\U000e0067\U000e007f", "\u200d", "\ufe0f", "🏽"),
        *("e\u0301", "\u0301", "!\u0301", "ä̈̈", "İ", "İSTANBUL", "ı", "ΟΔΟΣ", "A.Σ", "Σ", "ß", "ẞ", "ﬁ", "Ǆ"),
        *("שָׁלוֹם", "مرحبا", "\u200f", "\u0600", "\u0600 ", "नमस्ते", "สวัสดี", "한국어", "\u1112\u1161\u11ab", "日本語"),
        *(
            " ",
            "  ",
            "\t",
            "\r\n",
            "\n",
            "\r",
            "\u00a0",
            "\u2028",
            "\u3000",
            "\u200b",
            "\ufeff",
            "\x00",
            "\x1c",
            "\x85",
        ),
        *("\ud800", "\udfff", "\ud83d\ude00", "\U0010ffff", "\U0001d400"),
    ]
)
TEXTS = st.one_of(
    st.text(max_size=40),
    st.text(st.characters(codec=None), max_size=20),
    st.lists(PIECES, max_size=12).map("".join),
)
LINE_BREAK = regex.compile(r"<br\s*/?>", regex.IGNORECASE)


def tokens(text: str, encoding: Encoding) -> list[str]:
    return [text[start:end] for start, end in zip(encoding.starts, encoding.ends, strict=True)]


def lower(token: str) -> str:
    """As written in a vocabulary: one code point for each code point, whatever stands beside it."""
    return "".join({"İ": "i", "ς": "σ", "Σ": "σ"}.get(letter, letter.lower()) for letter in token)


@given(TEXTS)
@example("  A.Σ ΟΔΟΣ<BR\n/>İi̇")
@settings(max_examples=250, deadline=None)
def test_the_id_is_that_of_the_very_slice_of_the_text(text: str) -> None:
    encoding = TOKENIZER.encode(text, EVERYTHING)
    for token, number in zip(tokens(text, encoding), encoding.ids, strict=True):
        expected = WORDS.index(lower(token)) + FIRST_WORD_ID if lower(token) in WORDS else UNKNOWN_ID
        assert number == expected
    assert (encoding.ids != UNKNOWN_ID).tolist() == [lower(token) in WORDS for token in tokens(text, encoding)]


@given(TEXTS)
@example("\u0600<br>\u0600 the")
@settings(max_examples=250, deadline=None)
def test_offsets_grow_and_leave_out_nothing_visible(text: str) -> None:
    encoding = TOKENIZER.encode(text, EVERYTHING)
    for array in (encoding.ids, encoding.starts, encoding.ends):
        assert array.dtype == np.int32
        assert array.shape == (encoding.tokens_total,)
    assert (encoding.starts < encoding.ends).all()
    assert (encoding.ends[:-1] <= encoding.starts[1:]).all()
    inside = np.zeros(len(text), bool)
    for start, end in zip(encoding.starts, encoding.ends, strict=True):
        inside[start:end] = True
    assert "".join(letter for letter, within in zip(text, inside, strict=True) if within) == "".join(
        tokens(text, encoding)
    )
    line_break = np.zeros(len(text), bool)
    for match in LINE_BREAK.finditer(text):
        line_break[match.start() : match.end()] = True
    visible = np.array([not regex.match(r"\s", letter) for letter in text], bool)
    assert (inside | line_break | ~visible).all(), "a visible character that is in no token"
    assert not (inside & line_break).any(), "a token inside a line break"
    assert all(regex.match(r"\S", token) for token in tokens(text, encoding))


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_no_grapheme_of_symbols_is_cut_in_two(text: str) -> None:
    """A token may join graphemes, as a word does, and split off ASCII punctuation, but never begins inside an emoji."""
    encoding = TOKENIZER.encode(text, EVERYTHING)
    starts = set(encoding.starts.tolist())
    for match in regex.finditer(r"\X", text):
        symbol = regex.fullmatch(
            r"[\p{Extended_Pictographic}--[!-~]]\X*|\p{Regional_Indicator}+", match.group(), regex.V1
        )
        if symbol and match.start() in starts:
            assert not starts & set(range(match.start() + 1, match.end()))


@given(TEXTS, st.integers(0, 8))
@settings(max_examples=200, deadline=None)
def test_truncation_reads_the_first_tokens_and_counts_them_all(text: str, max_tokens: int) -> None:
    whole, cut = TOKENIZER.encode(text, EVERYTHING), TOKENIZER.encode(text, max_tokens)
    assert cut.tokens_total == whole.tokens_total
    for name in ("ids", "starts", "ends"):
        np.testing.assert_array_equal(getattr(cut, name), getattr(whole, name)[:max_tokens])


@given(st.lists(TEXTS, max_size=4), st.randoms())
@settings(max_examples=50, deadline=None)
def test_fitting_does_not_depend_on_the_order_of_texts_and_reloads(texts: list[str], generator: random.Random) -> None:
    shuffled = list(texts)
    generator.shuffle(shuffled)
    fitted = Tokenizer.fit(texts, max_words=20)
    assert Tokenizer.fit(shuffled, max_words=20).words == fitted.words
    assert fitted.vocabulary_size == FIRST_WORD_ID + len(fitted.words)
    again = Tokenizer.from_json(fitted.to_json())
    assert again.words == fitted.words
    for text in texts:
        np.testing.assert_array_equal(again.encode(text, 64).ids, fitted.encode(text, 64).ids)


def test_lowering_never_moves_an_offset() -> None:
    """Every code point there is, in texts whose last word must be found where it stands."""
    for first in range(0, sys.maxunicode + 1, 4096):
        text = "".join(map(chr, range(first, min(first + 4096, sys.maxunicode + 1)))) + " the film"
        encoding = TOKENIZER.encode(text, EVERYTHING)
        assert (encoding.starts[-1], encoding.ends[-1]) == (len(text) - 4, len(text))
        assert encoding.ids[-2:].tolist() == [2, 3]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I did not like it.", ["i", "did", "not", "like", "it", "."]),
        ("Don't! don’t", ["don't", "!", "don’t"]),
        ("'quoted'", ["'", "quoted", "'"]),
        ("Good.<br /><br />Bad<BR>", ["good", ".", "bad"]),
        ("a<br\n/>b<br/>c<br >d", ["a", "b", "c", "d"]),
        ("<br class='x'>", ["<", "br", "class", "=", "'", "x", "'", ">"]),
        ("10/10 👩‍👩‍👧👍🏽", ["10", "/", "10", "👩‍👩‍👧", "👍🏽"]),
        ("Cafe\u0301 naïve", ["cafe\u0301", "naïve"]),
        ("İyi", ["iyi"]),
        ("ΟΔΟΣ οδος Σ A.Σ", ["οδοσ", "οδοσ", "σ", "a", ".", "σ"]),
        ("...!?", [".", ".", ".", "!", "?"]),
        (" \t\r\n\u3000", []),
        ("", []),
        ("\x00", ["\x00"]),
        ("\u0600the \u0600 <br>", ["\u0600", "the", "\u0600"]),
    ],
)
def test_split_by_hand(text: str, expected: list[str]) -> None:
    assert list(split(text)) == expected


def test_offsets_by_hand() -> None:
    text = "  The 👩‍👩‍👧 film"
    encoding = TOKENIZER.encode(text, 64)
    assert list(zip(encoding.ids, encoding.starts, encoding.ends, strict=True)) == [(2, 2, 5), (8, 6, 11), (3, 12, 16)]


def test_ids_of_words_begin_after_padding_and_unknown() -> None:
    assert (PAD_ID, UNKNOWN_ID, FIRST_WORD_ID) == (0, 1, 2)
    assert TOKENIZER.encode("the zebra", 64).ids.tolist() == [2, 1]
    assert (TOKENIZER.encode("the zebra", 64).ids != UNKNOWN_ID).tolist() == [True, False]


def test_the_commonest_words_are_kept_and_ties_go_by_the_alphabet() -> None:
    texts = ["b b c a", "C d D d."]
    assert Tokenizer.fit(texts, max_words=3).words == ("d", "b", "c")
    assert Tokenizer.fit(texts, max_words=9).words == ("d", "b", "c", ".", "a")
    assert Tokenizer.fit(texts, max_words=9, min_count=2).words == ("d", "b", "c")
    assert Tokenizer.fit([], max_words=9).words == ()


@pytest.mark.parametrize("words", [["a", "a"], [""], ["a", ""]])
def test_a_vocabulary_of_empty_or_equal_words_is_refused(words: list[str]) -> None:
    with pytest.raises(ValueError, match=r"Expected .* different, non-empty words\. Received"):
        Tokenizer(words)


@pytest.mark.parametrize(
    "document",
    [
        "[]",
        "{}",
        '{"type": "bytes", "words": []}',
        '{"type": "words", "words": "abc"}',
        '{"type": "words", "words": [1]}',
    ],
)
def test_json_of_something_else_is_refused(document: str) -> None:
    with pytest.raises(ValueError, match=r"Expected \{.*\}\. Received another JSON document"):
        Tokenizer.from_json(document)


def test_json_holds_the_words_as_they_are() -> None:
    assert json.loads(TOKENIZER.to_json()) == {"type": "words", "words": list(WORDS)}


def test_one_tokenizer_serves_many_threads() -> None:
    texts = [" ".join(random.Random(seed).choices([*WORDS, "zebra", "<br />"], k=200)) for seed in range(40)]
    expected = [TOKENIZER.encode(text, 100).ids.tolist() for text in texts]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            assert [each.ids.tolist() for each in pool.map(lambda text: TOKENIZER.encode(text, 100), texts)] == expected


@pytest.mark.parametrize(
    "piece",
    [
        *("<br", "<br ", "<br" + " " * 1000, "a'", "<" * 2, "''", "\u0301", "…\u0301", "\u200d", "\u0600"),
        *("👩‍", "👩", "👩" + "\ufe0f" * 500, "🇫", "🇫\u200d", "🇫\u0301", "\u0600🇫", "a🇫"),
        *("\u0915\u094d", "…\u094d", "🇫\u094d\u0915", "\u1112", "\u1112\u1161\u11ab"),
    ],
)
def test_the_time_grows_with_the_text_and_not_with_its_square(piece: str) -> None:
    """A million characters that look for the end of something take seconds; in their square they would take hours."""
    assert TOKENIZER.encode(piece * (1_000_000 // len(piece)), 64).tokens_total >= 1


BEFORE_FLAGS = regex.compile(
    r"<br\s*/?>(*SKIP)(*FAIL)|\w++(?:['’]\w++)*+|[!-/:-@\[-`{-~]|\p{Grapheme_Cluster_Break=Prepend}|(?=\S)\X",
    regex.IGNORECASE,
)
"""The pattern before flags were spelt out: right, but in the square of the time."""


@settings(max_examples=1000, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                *"🇫🇷a.' …👩©",
                "\u200d",
                "\ufe0f",
                "\u0301",
                "\u0600",
                "\u0903",
                "\u0915",
                "\u094d",
                "🏽",
                "\u1112",
                "\u200b",
            ]
        ),
        max_size=14,
    ).map("".join)
)
def test_flags_spelt_out_give_the_same_tokens(text: str) -> None:
    expected = [match.span() for match in BEFORE_FLAGS.finditer(text)]
    starts, ends = _spans_by_pattern(text)
    assert list(zip(starts.tolist(), ends.tolist(), strict=True)) == expected


NEIGHBOURS = st.lists(
    st.sampled_from(
        [
            *(
                "a",
                "B",
                "_",
                "9",
                "'",
                "’",
                "!",
                "“",
                "é",
                "…",
                "©",
                "<br",
                "<BR",
                "/>",
                " ",
                "\r\n",
                "\x0b",
                "\x1c",
                "\x00",
            ),
            *("\x7f", "\x85", "\xa0", "\xad", "\u200b", "\u2028", "\u0301", "\u0600", "\u1100", "<br />"),
        ]
    )
    | st.characters(max_codepoint=127)
    | st.characters(max_codepoint=0x3010, exclude_categories=["Mn", "Mc", "Me"])
).map("".join)


@settings(max_examples=600)
@given(TEXTS | NEIGHBOURS)
def test_kinds_of_characters_find_the_tokens_that_the_pattern_finds(text: str) -> None:
    kinds = _kinds(_lower(text))
    if kinds is None:
        assert not text.isascii()
        return
    for quick, general in zip(_spans_by_kind(kinds), _spans_by_pattern(_lower(text)), strict=True):
        np.testing.assert_array_equal(quick, general)


def test_most_text_needs_no_pattern() -> None:
    assert _kinds("“naïve” café – ‘don’t’… ½ £5\x96 русский עברית") is not None
    for text in ("e\u0301", "👍🏽", "नमस्ते", "\u200d"):
        assert _kinds(text) is None
