"""Cores that a container may use, as the kernel shows them, and memory that is given back."""

import gc
import os
import sys
import weakref
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from service.inference.process import trim_memory, tune_interpreter, usable_cores

STATUS = Path("/proc/self/status")


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


@pytest.mark.usefixtures("eight_cores")
@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("10000 100000", 1), ("", 8)]
)
def test_cgroup_v2(tmp_path: Path, quota: str, cores: int) -> None:
    (tmp_path / "cpu.max").write_text(quota + "\n")
    assert usable_cores(tmp_path) == cores


@pytest.mark.usefixtures("eight_cores")
@pytest.mark.parametrize(("quota", "cores"), [("-1", 8), ("300000", 3), ("1000000", 8)])
def test_cgroup_v1(tmp_path: Path, quota: str, cores: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000")
    assert usable_cores(tmp_path) == cores


@pytest.mark.usefixtures("eight_cores")
def test_no_cgroup(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == 8


def resident_bytes() -> int:
    [line] = [line for line in STATUS.read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not STATUS.exists(), reason="needs /proc, which only Linux has")
def test_free_memory_goes_back_to_the_kernel() -> None:
    trim_memory()
    before = resident_bytes()
    pieces = [np.ones(10_000, np.uint8) for _ in range(10_000)]  # each too small for the C library to return by itself
    held = resident_bytes() - before
    last = pieces[-1]
    del pieces
    trim_memory()
    assert held > 80e6
    assert resident_bytes() - before < held / 2
    assert len(last)


def test_what_stays_is_out_of_sight_of_the_collector() -> None:
    trim_memory()
    assert gc.get_freeze_count() > 1000
    gc.unfreeze()


@pytest.fixture
def tuned() -> Iterator[None]:
    thresholds, interval = gc.get_threshold(), sys.getswitchinterval()
    loaded = [[place] for place in range(1_000_000)]  # as many objects as models and libraries are
    trim_memory()
    tune_interpreter()
    yield
    assert loaded
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval)
    gc.unfreeze()


class RefersToItself:
    """As asyncio's transport of a connection does."""

    def __init__(self) -> None:
        self.itself = self


@pytest.mark.usefixtures("tuned")
def test_closed_connections_do_not_pile_up() -> None:
    alive: weakref.WeakSet[RefersToItself] = weakref.WeakSet()
    connections = deque[RefersToItself](maxlen=4_000)
    most = 0
    for _ in range(400_000):
        connections.append(RefersToItself())
        alive.add(connections[-1])
        most = max(most, len(alive))
    assert most < 55_000
