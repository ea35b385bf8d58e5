"""Write the tokens of an answer as JSON, without a Python object for each."""

import ctypes
import threading
from functools import cache

import numpy as np

from models.native import library

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
