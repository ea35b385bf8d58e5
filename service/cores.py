"""How many cores this process may really use: what the machine has, less what the container is held to."""

import math
import os
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


def _read(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii").split()
    except OSError:
        return []
