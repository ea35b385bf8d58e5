"""Offsets into a text in the units the client counts in: code points, UTF-16 units or UTF-8 bytes."""

from typing import Literal, get_args

import numpy as np

OffsetEncoding = Literal["codepoint", "utf16", "utf8"]
OFFSET_ENCODINGS: tuple[OffsetEncoding, ...] = get_args(OffsetEncoding)


def unit_offsets(text: str, offsets: np.ndarray, encoding: OffsetEncoding) -> np.ndarray:
    """Code point offsets into `text`, counted in another unit.

    Args:
        text: Unicode text without lone surrogates.
        offsets: integer[...], offsets in code points, each from 0 to `len(text)`.
        encoding: The unit: `codepoint` (Python), `utf16` (JavaScript, Java, C#) or `utf8` (Go, Rust, bytes).

    Returns:
        integer[...], the same places in that unit.
    """
    if encoding == "codepoint" or text.isascii():
        return offsets
    code_points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)  # [len(text)]
    units = np.ones(len(code_points), dtype=np.int64)
    units += code_points >= 0x10000  # a surrogate pair, or the fourth byte
    if encoding == "utf8":
        units += code_points >= 0x80
        units += code_points >= 0x800
    before = np.concatenate([[0], np.cumsum(units)])  # [len(text) + 1]: units before each place
    converted: np.ndarray = before[offsets]
    return converted
