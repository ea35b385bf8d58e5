"""The tokenizer's inner loop in C: tokens of a text and their ids in one pass."""

import ctypes
from collections.abc import Sequence

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
        kinds: uint8[codes], the kind of each code point, as in `models.tokenizer`; more than 127 of them.

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
        """Tokenize a text, which is lower-cased unless it is ASCII; None where kinds alone do not tell the tokens.

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
