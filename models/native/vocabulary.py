"""The tokenizer's inner loop in C: spans and ids of a text in one pass."""

import ctypes
import threading
from collections.abc import Sequence

import numpy as np

from models.native import library
from models.native.addresses import address_of

_INTEGERS_A_SLOT = 4  # `Slot` of vocabulary.h
_SCRATCH = 1 << 14  # integers; longer texts are rare


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
        self._own = threading.local()
        self._encode_ascii = self._function(loaded.heed_encode_ascii)
        self._encode_codes = self._function(loaded.heed_encode_codes)

    @staticmethod
    def _function(function: "ctypes._NamedFuncPointer") -> "ctypes._NamedFuncPointer":
        pointer, integer = ctypes.c_void_p, ctypes.c_int32
        function.argtypes = [pointer, ctypes.c_char_p, integer, pointer, integer, integer, pointer]
        function.restype = integer
        return function

    def encode(self, text: str, max_tokens: int) -> tuple[tuple[np.ndarray, ...], int, int] | None:
        """The tokens of a text, lower-cased if it is not ASCII; None where kinds alone do not tell them.

        Returns:
            ids, starts and ends of the first `max_tokens` tokens, int32[tokens] each; how many of these are no words;
            and how many tokens the whole text has.
        """
        length = len(text)
        room = min(length, max_tokens)
        integers = 3 * room + 1  # the last one is the count of the unknown
        if text.isascii():
            encode, content = self._encode_ascii, text.encode("ascii")
            scratch = self._scratch_of(integers + -(-length // 4))  # the lower-cased text stands behind them
        else:
            encode, content = self._encode_codes, text.encode("utf-32-le", "surrogatepass")
            scratch = self._scratch_of(integers)
        tokens: int = encode(
            self._address, content, length, self._kinds_address, len(self._kinds), max_tokens, address_of(scratch)
        )
        if tokens < 0:
            return None
        kept = min(tokens, room)
        found = scratch[: 3 * kept].copy()
        return (found[:kept], found[kept : 2 * kept], found[2 * kept :]), scratch.item(integers - 1), tokens

    def _scratch_of(self, integers: int) -> np.ndarray:
        """Memory of this thread, the same for most texts: so it is still in the cache."""
        if integers > _SCRATCH:
            return np.empty(integers, np.int32)
        scratch: np.ndarray | None = getattr(self._own, "scratch", None)
        if scratch is None:
            scratch = self._own.scratch = np.empty(_SCRATCH, np.int32)
        return scratch
