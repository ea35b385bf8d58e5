"""The token writer in C: numbers as short as they can be, texts and offsets of any size."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.native.text import write_tokens


def test_numbers_are_as_short_as_they_can_be(compiled: None) -> None:
    spans = (np.arange(6, dtype=np.int32), np.arange(1, 7, dtype=np.int32))
    written = write_tokens(
        b"abcdef",
        places=spans,
        shown=spans,
        weights=np.array([1, 0.5, 0.0001234567, 1.5e-7, 0, 0.99999994], np.float32),
        weight_digits=6,
        contributions=np.array([2, -0.25, 1e-8, -1e-9, 0, 123456.703125], np.float32),
        temperature=1,
        contribution_decimals=8,
        ids=np.array([1, 2, 3, 4, 5, 6], np.int32),
        unknown_id=1,
    )
    assert written is not None
    tokens = json.loads(written, parse_float=str)
    assert [token["weight"] for token in tokens] == ["1.0", "0.5", "0.000123457", "1.5e-7", "0.0", "1.0"]
    assert [token["contribution"] for token in tokens] == ["2.0", "-0.25", "1e-8", "0.0", "0.0", "123456.703125"]
    assert [token["known"] for token in tokens] == [False, True, True, True, True, True]


def written_tokens(text: str, spans: list[tuple[int, int]], shown: list[tuple[int, int]]) -> list[dict[str, Any]]:
    """Write tokens at these byte offsets, with the offsets to show, and parse them."""
    (starts, ends), (starts_shown, ends_shown) = (np.array(each, np.int32).T for each in (spans, shown))
    written = write_tokens(
        text.encode(),
        places=(starts, ends),
        shown=(starts_shown, ends_shown),
        weights=np.ones(len(spans), np.float32),
        weight_digits=6,
        contributions=None,
        temperature=1,
        contribution_decimals=8,
        ids=np.ones(len(spans), np.int32),
        unknown_id=1,
    )
    assert written is not None
    tokens: list[dict[str, Any]] = json.loads(written)
    return tokens


# C copies eight bytes at a time if none of them needs escaping and eight may be read.
@given(
    before=st.integers(0, 17),
    special=st.sampled_from([*'"\\\0\x1f \x7f\x80é中😀!#[]']),
    after=st.integers(0, 17),
    behind=st.integers(0, 9),
)
def test_a_text_of_any_length_is_written(compiled: None, before: int, special: str, after: int, behind: int) -> None:
    token, rest = "a" * before + special + "z" * after, "'" * behind
    size = len(token.encode())
    spans = [(0, size), (size, size + behind)]
    assert [each["text"] for each in written_tokens(token + rest, spans, spans)] == [token, rest]


@pytest.mark.parametrize("place", [0, 9, 10, 99, 100, 999, 1000, 9999, 10_000, 123_456, 2_000_000_007])
def test_a_place_of_any_size_is_written(compiled: None, place: int) -> None:
    [token] = written_tokens("a", [(0, 1)], [(place, place)])
    assert (token["start"], token["end"]) == (place, place)
