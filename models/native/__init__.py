"""The hot loops in C: used where they were compiled, never needed. Everything here has its twin in Python.

`python -m models.native` compiles them, and so does an installation that finds a C compiler.
"""

import ctypes
from functools import cache
from typing import TypeVar

from models.native.build import LIBRARY, sources_hash

T = TypeVar("T", bound=ctypes.CDLL)

_used = True


def use(wanted: bool) -> None:
    """Whether what is loaded from now on shall use C where it is compiled; in this process, and by default it does."""
    global _used
    _used = wanted


def library() -> ctypes.PyDLL | None:
    """The compiled functions, called with the interpreter's lock held: for those that take microseconds.

    None where nothing was compiled, or from other sources than these, or it is not to be used.
    """
    return _load(ctypes.PyDLL) if _used else None


def unlocked_library() -> ctypes.CDLL | None:
    """As `library`, but other threads run meanwhile: for functions that take longer than that costs."""
    return _load(ctypes.CDLL) if _used else None


@cache
def _load(how: type[T]) -> T | None:
    try:
        loaded = how(str(LIBRARY))
        loaded.heed_sources.restype = ctypes.c_char_p
        return loaded if loaded.heed_sources() == sources_hash().encode() else None
    except (OSError, AttributeError):  # not compiled, for another machine, or no library of ours
        return None
