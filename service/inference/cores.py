"""The cores that this process may use, and which of its threads goes first on them."""

import contextlib
import math
import os
import sys
import threading
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def usable_cores(cgroups: Path = _CGROUPS) -> int:
    """The cores of this process's affinity, or its container's share of them where that is less; at least 1.

    Args:
        cgroups: where the kernel shows the limits: `cpu.max` (cgroup v2), `cpu/cpu.cfs_*_us` (v1).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = _read(cgroups / "cpu.max") or [
        *_read(cgroups / "cpu/cpu.cfs_quota_us"),
        *_read(cgroups / "cpu/cpu.cfs_period_us"),
    ]
    match share:
        case [quota, period] if quota not in ("max", "-1"):
            return max(1, min(cores, math.ceil(int(quota) / int(period))))
    return cores


def stand_back(steps: int) -> None:
    """Let every other thread of this process go before the calling one where both could run, by `steps` of niceness.

    Only Linux knows priorities of threads; elsewhere, and where they may not be set, nothing changes.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + steps)


def _read(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii").split()
    except OSError:
        return []
