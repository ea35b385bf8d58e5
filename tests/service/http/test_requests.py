"""The JSON that the service takes, which is less than most parsers do."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.http.problems import MalformedBody
from service.http.requests import parse_json


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'text': 'a'}",
        b'{"text": "a",}',
        b'{"text": "a"} {}',
        b'{"text": "a", "top_tokens": NaN}',
        b"[Infinity]",
        b"[-Infinity]",
        b"1e999",
        b'{"text": "\xff"}',
        b'{"text": "\xed\xa0\x80"}',
        b'{"text": "\xc0\xae"}',
        b'{"text": "\\ud800"}',
        b'{"text": "\\udc00\\ud800"}',
        b'{"text": "a\nb"}',
        b'\xef\xbb\xbf{"text": "a"}',
        '{"text": "a"}'.encode("utf-16"),
        b'{"text": "a", "text": "b"}',
        b'{"text": "a", "\\u0074ext": "b"}',
        b'[{"deep": {"a": 1, "a": 1}}]',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 1020 + b"]" * 1020,
    ],
    ids=repr,
)
def test_what_is_not_json_is_refused_with_a_reason(body: bytes) -> None:
    with pytest.raises(MalformedBody, match=r"^Expected .*Received "):
        parse_json(body)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**53), 2**53)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(codec="utf-8")),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    )
)
def test_what_is_json_is_read_as_it_was_written(document: Any) -> None:
    assert parse_json(orjson.dumps(document)) == document
    assert parse_json(json.dumps(document).encode()) == document


PIECES = [
    r'"text"',
    r'"texts"',
    ":",
    ",",
    "{",
    "}",
    "[",
    "]",
    r'"a"',
    r'"\""',
    r'"\\"',
    r'"\\\""',
    r'"\u0022"',
    "1",
    "null",
    " ",
]


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
@example(r'{"text":"\\","text":"a"}')
@example(r'{"text":"\"","text":"a"}')
@example(r'{"text":{"a":1,"a":1}}')
@example(r'{"texts":[{"a":1,"a":1}]}')
@example(r'{"texts":["\u0022"],"texts":[]}')
def test_no_name_is_repeated_in_what_is_read(body: str) -> None:
    def names_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) != len(pairs):
            raise ValueError
        return dict(pairs)

    try:
        expected = json.loads(body, object_pairs_hook=names_once)
    except ValueError:
        with pytest.raises(MalformedBody):
            parse_json(body.encode())
    else:
        assert parse_json(body.encode()) == expected


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert parse_json(rb'"\ud83c\udfac"') == "🎬"
