"""Kernels for text: the tokens of a text with their ids, and the tokens of an answer as JSON."""

import ctypes
import threading
from collections.abc import Sequence
from functools import cache

import numpy as np

from models.native import library

_SLOT = np.dtype([("hash", np.uint64), ("id", np.int32), ("start", np.int32), ("length", np.int32)], align=True)
_MAX_LENGTH = 1 << 28  # letters of a text, or of all words together


class _Vocabulary(ctypes.Structure):
    """`Vocabulary` of tokenizer.c."""

    _fields_ = [
        ("letters", ctypes.c_void_p),
        ("ends", ctypes.c_void_p),
        ("slots", ctypes.c_void_p),
        ("mask", ctypes.c_uint32),
        ("words", ctypes.c_int32),
        ("first_id", ctypes.c_int32),
    ]


class NativeVocabulary:
    """Maps words to ids, and texts to tokens.

    Args:
        words: different and not empty; word i has id `first_id + i`. An unknown word has id `first_id - 1`.
        first_id: at least 1.
        kinds: uint8[codes], the kind of each code point, as in `models.token_rules`; more than 127 of them.

    Raises:
        RuntimeError: the kernels are not compiled, or not wanted.
        ValueError: the words collide in the hash table, so that looking them up would take long.
    """

    def __init__(self, words: Sequence[str], first_id: int, kinds: np.ndarray) -> None:
        loaded = library()
        if loaded is None:
            raise RuntimeError("The kernels are not compiled, or not wanted.")
        letters = np.frombuffer("".join(words).encode("utf-32-le", "surrogatepass"), np.uint32)
        if len(letters) > _MAX_LENGTH or "" in words or first_id < 1 or len(kinds) < 128 or kinds.dtype != np.uint8:
            raise ValueError(
                f"Expected words of 1 to {_MAX_LENGTH} letters, a first id of at least 1, and the kinds of ASCII. "
                f"Received {len(letters)} letters, first id {first_id} and {len(kinds)} kinds of {kinds.dtype}."
            )
        self._kinds = np.ascontiguousarray(kinds)
        ends = np.cumsum([len(word) for word in words], dtype=np.int32)
        slots = np.zeros(1 << (2 * len(words) + 1).bit_length(), _SLOT)
        self._arrays = (letters, ends, slots)  # the structure holds only their addresses
        addresses = (array.ctypes.data for array in self._arrays)
        self._structure = _Vocabulary(*addresses, len(slots) - 1, len(words), first_id)
        self._unknown = first_id - 1
        if not loaded.heed_fill_vocabulary(ctypes.byref(self._structure)):
            raise ValueError(f"Expected words that differ in their hashes. Received {len(words)} that collide.")
        pointer, integer = ctypes.c_void_p, ctypes.c_int32
        self._encode = loaded.heed_encode
        self._encode.argtypes = [pointer, ctypes.c_char_p, *[integer] * 2, pointer, ctypes.c_uint32, integer, pointer]
        self._encode.restype = integer

    def encode(self, text: str, max_tokens: int) -> tuple[np.ndarray, int, int] | None:
        """Tokenize a text, spelt as words are looked up; None where kinds alone do not tell the tokens.

        Returns:
            int32[3, tokens], the ids, starts and ends of the first `max_tokens` tokens; how many of these are unknown;
            and how many tokens the whole text has.
        """
        length = len(text)
        if length > _MAX_LENGTH:
            return None
        width, content = (1, text.encode("ascii")) if text.isascii() else (4, text.encode("utf-32-le", "surrogatepass"))
        room = max(0, min(length, max_tokens))
        found = np.empty((3, room), np.int32)
        tokens: int = self._encode(
            *(ctypes.addressof(self._structure), content, width, length),
            *(self._kinds.ctypes.data, len(self._kinds), room, found.ctypes.data),
        )
        if tokens < 0:
            return None
        found = found[:, : min(tokens, room)].copy()
        return found, int(np.count_nonzero(found[0] == self._unknown)), tokens


_BYTES_A_TOKEN = 160  # all but its text
_BYTES_A_BYTE = 6  # of a control character

_buffers = threading.local()


@cache
def _writer(loaded: ctypes.PyDLL | None) -> "ctypes._NamedFuncPointer | None":
    if loaded is None:
        return None
    array, integer, number = ctypes.c_char_p, ctypes.c_int32, ctypes.c_double
    write = loaded.heed_write_tokens
    write.argtypes = [
        *(array, integer, array, array, array, array, array, integer),
        *(array, number, integer, array, integer, ctypes.c_void_p),
    ]
    write.restype = ctypes.c_int64
    return write


def write_tokens(
    text: bytes,
    *,
    places: tuple[np.ndarray, np.ndarray],
    shown: tuple[np.ndarray, np.ndarray],
    weights: np.ndarray,
    weight_digits: int,
    contributions: np.ndarray | None,
    temperature: float,
    contribution_decimals: int,
    ids: np.ndarray,
    unknown_id: int,
) -> bytes | None:
    """Return the tokens of a prediction as a JSON array; None if C is not compiled or cannot write one of the numbers.

    Args:
        text: UTF-8.
        places: starts and ends of the tokens in `text`, in bytes, int32[tokens] each.
        shown: starts and ends in the client's units, int32[tokens] each.
        weights: float32[tokens], 0 to 1.
        weight_digits: significant digits of a weight.
        contributions: float32[tokens], each divided by `temperature` here; None if the model has none.
        temperature: above 0.
        contribution_decimals: decimals of a contribution.
        ids: int32[tokens].
        unknown_id: the id of a token that is not in the vocabulary.
    """
    write = _writer(library())
    if write is None:
        return None
    out = _buffer_of(2 + _BYTES_A_TOKEN * len(ids) + _BYTES_A_BYTE * len(text))
    starts, ends = map(_integers, places)
    starts_shown, ends_shown = (starts, ends) if shown is places else map(_integers, shown)
    written: int = write(
        *(text, len(ids), starts, ends, starts_shown, ends_shown, _floats(weights), weight_digits),
        *(None if contributions is None else _floats(contributions), temperature, contribution_decimals),
        *(_integers(ids), unknown_id, ctypes.addressof(out)),
    )
    return None if written < 0 else ctypes.string_at(out, written)


# Passing bytes costs a tenth of asking an array for its address.


def _integers(array: np.ndarray) -> bytes:
    return array.astype(np.int32, copy=False).tobytes()


def _floats(array: np.ndarray) -> bytes:
    return array.astype(np.float32, copy=False).tobytes()


def _buffer_of(size: int) -> "ctypes.Array[ctypes.c_char]":
    """Return this thread's buffer, replaced when it is smaller than `size` bytes."""
    buffer: ctypes.Array[ctypes.c_char] | None = getattr(_buffers, "buffer", None)
    if buffer is None or len(buffer) < size:
        buffer = _buffers.buffer = ctypes.create_string_buffer(size)
    return buffer
