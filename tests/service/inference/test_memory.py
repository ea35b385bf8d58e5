"""Memory is given back, and what stays is not looked through again."""

import gc
from pathlib import Path

import numpy as np
import pytest

from service.inference.memory import settle

STATUS = Path("/proc/self/status")


def resident_bytes() -> int:
    [line] = [line for line in STATUS.read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not STATUS.exists(), reason="reads resident memory from /proc, which Linux has")
def test_free_memory_goes_back_to_the_kernel() -> None:
    settle()
    before = resident_bytes()
    pieces = [np.ones(10_000, np.uint8) for _ in range(10_000)]  # each too small for the C library to return by itself
    held = resident_bytes() - before
    last = pieces[-1]
    del pieces
    settle()
    assert held > 80e6
    assert resident_bytes() - before < held / 2
    assert len(last)


def test_what_stays_is_out_of_sight_of_the_collector() -> None:
    settle()
    assert gc.get_freeze_count() > 1000
    gc.unfreeze()
