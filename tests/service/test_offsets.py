"""Offsets agree with what Python's own encoders say, and cut out the same slice in every unit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.offsets import OFFSET_ENCODINGS, OffsetEncoding, unit_offsets

CODEC = {"codepoint": ("utf-32-le", 4), "utf16": ("utf-16-le", 2), "utf8": ("utf-8", 1)}
TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)


@given(text=TEXTS, encoding=st.sampled_from(OFFSET_ENCODINGS), data=st.data())
def test_a_slice_in_units_is_the_slice_in_code_points(text: str, encoding: OffsetEncoding, data: st.DataObject) -> None:
    start, end = sorted(data.draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
    unit_start, unit_end = unit_offsets(text, np.array([start, end], dtype=np.int32), encoding).tolist()
    codec, width = CODEC[encoding]
    assert text.encode(codec)[unit_start * width : unit_end * width].decode(codec) == text[start:end]


@pytest.mark.parametrize(
    ("encoding", "expected"), [("codepoint", [0, 1, 2, 3, 4]), ("utf16", [0, 1, 2, 3, 5]), ("utf8", [0, 1, 3, 6, 10])]
)
def test_one_character_of_each_width(encoding: OffsetEncoding, expected: list[int]) -> None:
    assert unit_offsets("aé€🎬", np.arange(5), encoding).tolist() == expected


def test_no_offsets_give_no_offsets() -> None:
    assert unit_offsets("é", np.zeros(0, dtype=np.int32), "utf8").tolist() == []
