"""Where arrays lie, for C."""

import ctypes

import numpy as np


def address_of(array: np.ndarray) -> int:
    """As `array.ctypes.data`, in a quarter of the time: of an array that is not empty and may be written to."""
    return ctypes.addressof(ctypes.c_char.from_buffer(array.data))
