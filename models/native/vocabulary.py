"""The tokenizer's inner loop in C: spans and ids of a text in one pass."""

import ctypes
from collections.abc import Sequence

import numpy as np

from models.native import library
from models.native.addresses import address_of

_INTEGERS_A_SLOT = 4  # `Slot` of vocabulary.h


class _Vocabulary(ctypes.Structure):
    """`Vocabulary` of vocabulary.h."""

    _fields_ = [
        ("letters", ctypes.c_void_p),
        ("ends", ctypes.c_void_p),
        ("slots", ctypes.c_void_p),
        ("mask", ctypes.c_uint32),
        ("words", ctypes.c_int32),
        ("first_id", ctypes.c_int32),
    ]


class NativeVocabulary:
    """Ids of words, and the tokens of texts.

    Args:
        words: word i has id `first_id + i`; what is none of them has id `first_id - 1`.
        kinds: uint8[codes], the kind of each code point, as in `models.tokenizer`.
    """

    def __init__(self, words: Sequence[str], first_id: int, kinds: np.ndarray) -> None:
        loaded = library()
        assert loaded is not None
        self._kinds = kinds
        letters = np.frombuffer("".join(words).encode("utf-32-le", "surrogatepass"), np.uint32)
        ends = np.cumsum([len(word) for word in words], dtype=np.int32)
        slots = np.zeros((1 << (2 * len(words) + 1).bit_length(), _INTEGERS_A_SLOT), np.int32)
        self._arrays = (letters, ends, slots)  # kept: the structure holds their addresses alone
        addresses = (array.ctypes.data for array in self._arrays)
        self._structure = _Vocabulary(*addresses, len(slots) - 1, len(words), first_id)
        loaded.heed_fill_vocabulary(ctypes.byref(self._structure))
        self._address = ctypes.addressof(self._structure)
        self._kinds_address = kinds.ctypes.data
        self._encode_bytes = self._function(loaded.heed_encode_bytes)
        self._encode_codes = self._function(loaded.heed_encode_codes)

    @staticmethod
    def _function(function: "ctypes._NamedFuncPointer") -> "ctypes._NamedFuncPointer":
        pointer, integer = ctypes.c_void_p, ctypes.c_int32
        function.argtypes = [pointer, ctypes.c_char_p, integer, pointer, integer, integer, *[pointer] * 4]
        function.restype = integer
        return function

    def encode(self, lowered: str, max_tokens: int) -> tuple[tuple[np.ndarray, ...], int, int] | None:
        """The tokens of a lower-cased text; None where kinds alone do not tell them.

        Returns:
            ids, starts and ends of the first `max_tokens` tokens, int32[tokens] each; how many of these are no words;
            and how many tokens the whole text has.
        """
        room = min(len(lowered), max_tokens)
        found = np.empty(3 * room + 1, np.int32)  # the last one is the count of the unknown
        address = address_of(found)
        if lowered.isascii():
            encode, text = self._encode_bytes, lowered.encode("ascii")
        else:
            encode, text = self._encode_codes, lowered.encode("utf-32-le", "surrogatepass")
        places = (address, address + 4 * room, address + 8 * room, address + 12 * room)
        tokens: int = encode(
            self._address, text, len(lowered), self._kinds_address, len(self._kinds), max_tokens, *places
        )
        if tokens < 0:
            return None
        kept = min(tokens, room)
        ids, starts, ends = found[:kept], found[room : room + kept], found[2 * room : 2 * room + kept]
        return (ids, starts, ends), found.item(-1), tokens
