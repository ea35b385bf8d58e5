import html
import string
import sys
import unicodedata
from typing import Literal

import numpy as np
import pytest
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.normalize import normalize
from models.token_rules import CODES
from models.tokenizer import Tokenizer, split
from tests.models.texts import TEXTS

ASCII = st.text(string.ascii_letters + string.digits + " .,!?'<>/\n", max_size=30)
LETTERS = st.text("aeioujIJßǰéẽΐάςΣйЙが한글אبनक़ｶｱﾞＡ‘ ", max_size=12).flatmap(
    lambda text: st.lists(st.sampled_from("\u0301\u0303\u0308\u0316\u0323"), max_size=4).map(
        lambda marks: text + "".join(marks) + text
    )
)
IGNORED = "\u00ad\u200b\u200c\u200e\u2060\ufe0f\ufeff"
REVIEW = "It wasn't bad, but we couldn't follow the plot and didn't laugh once."


def tokens(text: str) -> list[str]:
    return list(split(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don’t donʼt don＇t don`t don´t don‘t", ["don't"] * 6),
        ("don&#39;t don&#x27;t don&rsquo;t don&apos;t", ["don't"] * 4),
        ("’quoted‘ `a`", ["'", "quoted", "'", "'", "a", "'"]),
        ("Ｇｏｏｄ！　ＦＩＬＭ", ["good", "!", "film"]),
        ("Cafe\u0301 CAFÉ caf&eacute; caf&#101;&#x301;", ["café"] * 4),
        ("ﬁlm 𝐟𝐢𝐥𝐦 Ⅻ x²", ["film", "film", "xii", "x2"]),
        ("Straße STRASSE STRAẞE", ["strasse"] * 3),
        ("İYİ I\u0307yi i\u0307yi ΟΔΟΣ οδος", ["iyi", "iyi", "iyi", "οδοσ", "οδοσ"]),
        ("so\u00adft so\u200bft \ufeffsoft\u2060 so\u200eft so&shy;ft", ["soft"] * 5),
        ("می\u200cخواهم", ["میخواهم"]),
        ("a&nbsp;b&#10;c&Tab;&ensp;d", ["a", "b", "c", "d"]),
        ("a&lt;br /&gt;b<br/>c＜ｂｒ＞d", ["a", "b", "c", "d"]),
        ("&quot;R&amp;B&quot;", ['"', "r", "&", "b", '"']),
        ("&amp;#39;", ["&", "#", "39", ";"]),
        ("AT&T &foo; &amp &#;", ["at", "&", "t", "&", "foo", ";", "&", "amp", "&", "#", ";"]),
        ("½ … ŉ ™ ⑫ ￣", ["½", "…", "ŉ", "™", "⑫", "￣"]),
        ("❤ ❤️ &#10084;&#65039; ❤️‍🔥", ["❤", "❤", "❤", "❤\u200d🔥"]),
        ("👩‍👩‍👧👍🏽🇫🇷1️⃣", ["👩‍👩‍👧", "👍🏽", "🇫🇷", "1\u20e3"]),
        ("ｶﾞ か\u3099 한 \u1112\u1161\u11ab", ["ガ", "が", "한", "한"]),
        ("น้ำ น้ํา", ["น้ํา", "น้ํา"]),
        ("\U0002f800", ["丽"]),
    ],
)
def test_what_people_write_by_hand(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected


def test_offsets_by_hand() -> None:
    text = "\ufeffI did\u00adn&#8217;t &amp; I can’t: ❤️&nbsp;\u200bStra&szlig;e"
    encoding = Tokenizer(["didn't"]).encode(text, 64)
    found = [text[start:end] for start, end in zip(encoding.starts, encoding.ends, strict=True)]
    assert found == ["I", "did\u00adn&#8217;t", "&amp;", "I", "can’t", ":", "❤️", "Stra&szlig;e"]
    assert encoding.ids.tolist() == [1, 2, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("apostrophe", ["’", "ʼ", "＇", "`", "´", "&#39;", "&#x27;", "&apos;", "&rsquo;", "&#8217;"])
def test_every_way_to_write_an_apostrophe_gives_the_same_ids(apostrophe: str) -> None:
    tokenizer = Tokenizer(sorted({*tokens(REVIEW)}))
    text = REVIEW.replace("'", apostrophe)
    expected, found = tokenizer.encode(REVIEW, 64), tokenizer.encode(text, 64)
    np.testing.assert_array_equal(found.ids, expected.ids)
    assert found.unknown == 0
    assert [text[start:end] for start, end in zip(found.starts, found.ends, strict=True)] == [
        REVIEW[start:end].replace("'", apostrophe) for start, end in zip(expected.starts, expected.ends, strict=True)
    ]


@settings(max_examples=500)
@given(TEXTS)
@example("°ำ a⑫\u20e3 !\u0344 &amp;lt; ŉ")
@example("\u4b59\u0f73\u11ab \u0eb2\u0e33\u0301 \u0e49\uff9e\u3099")
def test_every_token_is_what_its_own_slice_is_looked_up_as(text: str) -> None:
    """So each is exactly where its span says, whatever was replaced around it."""
    encoding = Tokenizer([]).encode(text, 10**6)
    slices = [text[start:end] for start, end in zip(encoding.starts, encoding.ends, strict=True)]
    assert [normalize(each)[0] for each in slices] == tokens(text)
    assert (encoding.starts < encoding.ends).all()
    assert (encoding.ends[:-1] <= encoding.starts[1:]).all()


@settings(max_examples=300)
@given(ASCII)
def test_html_escaped_text_reads_as_the_text(text: str) -> None:
    assert tokens(html.escape(text)) == tokens(text)
    assert tokens("".join(f"&#{ord(letter)};" for letter in text)) == tokens(text)


@settings(max_examples=300)
@given(ASCII)
def test_full_width_reads_as_ascii(text: str) -> None:
    wide = {code: code + 0xFEE0 for code in range(0x21, 0x7F)} | {ord(" "): 0x3000}
    assert tokens(text.translate(wide)) == tokens(text)


@settings(max_examples=500)
@given(LETTERS, st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
@example("ｅ\u0301 J\u030c ǰ ≠ ᾳ\u0301 α\u0345\u0301", "NFKD")
def test_equivalent_texts_read_the_same(text: str, form: Literal["NFC", "NFD", "NFKC", "NFKD"]) -> None:
    assert tokens(unicodedata.normalize(form, text)) == tokens(text)


@settings(max_examples=300)
@given(LETTERS | ASCII)
def test_case_makes_no_difference(text: str) -> None:
    assert tokens(text.casefold()) == tokens(text)


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from(["film", "don’t", "e\u0301", "中", "น้ำ", "ß", "😀", "!", " ", "한"]), max_size=8),
    st.data(),
)
def test_ignored_characters_change_nothing(pieces: list[str], data: st.DataObject) -> None:
    text = "".join(pieces)
    place = data.draw(st.integers(0, len(text)))
    assert tokens(text[:place] + data.draw(st.text(IGNORED)) + text[place:]) == tokens(text)


@settings(max_examples=300)
@given(TEXTS)
def test_what_is_normal_stays(text: str) -> None:
    normal, _ = normalize(text.replace("&", "+"))
    assert normalize(normal) == (normal, None)


def test_normalizing_never_moves_what_follows() -> None:
    """Every code point there is, in texts whose last word must be found where it stands."""
    tokenizer = Tokenizer(["the", "film"])
    for first in range(0, sys.maxunicode + 1, 4096):
        text = "".join(map(chr, range(first, min(first + 4096, sys.maxunicode + 1)))) + " the film"
        encoding = tokenizer.encode(text, 10**6)
        assert (encoding.starts[-1], encoding.ends[-1]) == (len(text) - 4, len(text))
        assert encoding.ids[-2:].tolist() == [2, 3]


def test_code_points_without_a_kind_are_normalized_too() -> None:
    ignored = regex.compile(r"[\p{Default_Ignorable_Code_Point}--[\U000e0020-\U000e007f]]", regex.V1)
    for first in range(CODES, sys.maxunicode, 4096):
        letters = [chr(code) for code in range(first, first + 4096)]
        expected = ["" if ignored.match(each) else unicodedata.normalize("NFKC", each).casefold() for each in letters]
        assert normalize(" ".join(letters))[0].split(" ") == expected


@pytest.mark.parametrize(
    "piece",
    [
        *("&", "&#", "&amp", "&amp;", "&#769;", "\u00ad", "a\u00ad", "\u200d", "👩\u200d", "👩\ufe0f\u200d", "ß", "ﬁ"),
        *(
            "\u0301\u0316",
            "e\u0301",
            "a" + "\u0301\u0316" * 500,
            "\u1112\u1161\u11ab",
            "1\ufe0f\u20e3",
            "น้ำ",
            "i\u0307",
        ),
    ],
)
def test_the_time_grows_with_the_text_and_not_with_its_square(piece: str) -> None:
    assert len(normalize(piece * (300_000 // len(piece)))[0]) <= 300_000 * 2
