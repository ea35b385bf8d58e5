"""The process: its cores, the priorities of its threads, its interpreter and its memory."""

import contextlib
import ctypes
import gc
import math
import os
import sys
import threading
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")

_SWITCH_SECONDS = 0.0005
"""How long other Python code may keep a worker waiting once its forward pass is done; by default ten times as long,
which is as long as the forward pass itself."""

_COLLECTIONS = (5_000, 3, 3)
"""When the collector looks at new, at older and at all objects. An answer is hundreds of objects, none of which needs
it, and by default it looks at every second answer. A closed connection needs it, because asyncio's transport refers to
itself; with the defaults for older objects a flood of them would wait for minutes."""


def usable_cores(cgroups: Path = _CGROUPS) -> int:
    """Return the cores of this process's affinity, or its container's quota of them if that is less; at least 1.

    Args:
        cgroups: where the kernel shows the limits: `cpu.max` (cgroup v2), `cpu/cpu.cfs_*_us` (v1).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota_and_period = _read(cgroups / "cpu.max") or [
        *_read(cgroups / "cpu/cpu.cfs_quota_us"),
        *_read(cgroups / "cpu/cpu.cfs_period_us"),
    ]
    match quota_and_period:
        case [quota, period] if quota not in ("max", "-1"):
            return max(1, min(cores, math.ceil(int(quota) / int(period))))
    return cores


def lower_priority(steps: int) -> None:
    """Let every other thread of this process run before the calling one, by `steps` of niceness.

    Only Linux has priorities of threads; elsewhere, and where they may not be set, nothing changes.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + steps)


def tune_interpreter() -> None:
    """Switch threads sooner than Python does by default, and look for garbage among new objects less often."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.set_threshold(*_COLLECTIONS)


def trim_memory() -> None:
    """Collect garbage, freeze what is left out of later collections, and return free memory to the kernel.

    Models and libraries are about a million objects: to look through them holds up every answer for a quarter of a
    second, and a busy service does so every few seconds. The C library keeps what loading and compiling freed.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.collect()  # sees little now: it looks at all objects again once a quarter of what it last saw is new
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # a C library other than GNU's has no malloc_trim
            ctypes.CDLL(None).malloc_trim(0)


def _read(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii").split()
    except OSError:
        return []
