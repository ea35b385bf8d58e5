"""What a process does about its memory once it holds what it is going to hold."""

import contextlib
import ctypes
import gc
import sys


def settle() -> None:
    """Collect garbage, leave what is here for good out of every later collection, and return free memory to the kernel.

    Models and libraries are about a million objects; to look through them all holds up every answer for a quarter of a
    second, and a busy service does so every few seconds. What loading and compiling freed, the C library keeps.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # a C library other than GNU's has no malloc_trim
            ctypes.CDLL(None).malloc_trim(0)
