"""Optional kernels in C: arrays in, arrays out. Each has a reference in Python, which runs where they are not compiled.

`python -m models.native` compiles them, and so does an installation that finds a C compiler.
"""

import ctypes
from functools import cache
from typing import TypeVar

from models.native.build import LIBRARY, sources_hash

T = TypeVar("T", bound=ctypes.CDLL)

_wanted = True


def use(wanted: bool) -> None:
    """Choose whether what is loaded from now on uses the kernels; it does by default."""
    global _wanted
    _wanted = wanted


def library() -> ctypes.PyDLL | None:
    """Return the kernels, to be called with the interpreter's lock held: for those that take microseconds.

    None where they are not compiled, were compiled from other sources, or are not wanted.
    """
    return load(ctypes.PyDLL) if _wanted else None


def unlocked_library() -> ctypes.CDLL | None:
    """Return the kernels, to be called without the interpreter's lock: for those that take longer."""
    return load(ctypes.CDLL) if _wanted else None


@cache
def load(kind: type[T]) -> T | None:
    """Load the library; None if it was not compiled from these sources."""
    try:
        loaded = kind(str(LIBRARY))
        loaded.heed_sources.restype = ctypes.c_char_p
        return loaded if loaded.heed_sources() == sources_hash().encode() else None
    except (OSError, AttributeError):  # not compiled, for another machine, or another library
        return None
