"""The tokens of an answer, written as JSON in C: no Python object for any of them."""

import ctypes
import threading
from functools import cache

import numpy as np

from models.native import library
from models.tokenizer import UNKNOWN_ID

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
) -> bytes | None:
    """The `tokens` of a prediction as a JSON array; None where C is not compiled, or has no way to write a number.

    Args:
        text: UTF-8.
        places: starts and ends of the tokens in `text`, int32[tokens] each.
        shown: their starts and ends as the client counts, int32[tokens] each.
        weights: float32[tokens], 0 to 1.
        weight_digits: significant digits of a weight.
        contributions: float32[tokens], each to be divided by `temperature`; None where there are none.
        temperature: above 0.
        contribution_decimals: decimals of a contribution.
        ids: int32[tokens].
    """
    write = _writer(library())
    if write is None:
        return None
    out = _room_for(2 + _BYTES_A_TOKEN * len(ids) + _BYTES_A_BYTE * len(text))
    starts, ends = map(_integers, places)
    starts_shown, ends_shown = (starts, ends) if shown is places else map(_integers, shown)
    written: int = write(
        *(text, len(ids), starts, ends, starts_shown, ends_shown, _floats(weights), weight_digits),
        *(None if contributions is None else _floats(contributions), temperature, contribution_decimals),
        *(_integers(ids), UNKNOWN_ID, ctypes.addressof(out)),
    )
    return None if written < 0 else ctypes.string_at(out, written)


# Their bytes, which costs a tenth of asking an array for its address.


def _integers(array: np.ndarray) -> bytes:
    return array.astype(np.int32, copy=False).tobytes()


def _floats(array: np.ndarray) -> bytes:
    return array.astype(np.float32, copy=False).tobytes()


def _room_for(size: int) -> "ctypes.Array[ctypes.c_char]":
    """This thread's room for so many bytes: made anew only when it is too small."""
    room: ctypes.Array[ctypes.c_char] | None = getattr(_buffers, "room", None)
    if room is None or len(room) < size:
        room = _buffers.room = ctypes.create_string_buffer(size)
    return room
