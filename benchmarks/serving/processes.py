"""Processor time and memory of a process and its descendants, read from /proc (Linux)."""

import os
import threading
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


class Usage(NamedTuple):
    """Usage of a process tree so far.

    Attributes:
        cpu_seconds: user and system time of all its processes, ended ones included.
        megabytes: memory in MiB, counting shared pages once (PSS).
        resident_megabytes: memory in MiB, counting shared pages in every process (RSS).
        processes: number of running processes.
    """

    cpu_seconds: float
    megabytes: float
    resident_megabytes: float
    processes: int


class ProcessTree:
    """A process and its descendants, including those that outlive their parent."""

    def __init__(self, pid: int) -> None:
        self._known = {pid}
        self._spent: dict[int, float] = {}

    def usage(self) -> Usage:
        """Read /proc now."""
        parents, spent = _all_processes()
        before = 0
        while before != len(self._known):
            before = len(self._known)
            self._known |= {pid for pid, parent in parents.items() if parent in self._known}
        alive = self._known & parents.keys()
        self._spent.update({pid: spent[pid] for pid in alive})
        memory = [_megabytes(pid) for pid in alive]
        shared_once, resident = (sum(column) for column in zip(*memory, strict=True)) if memory else (0.0, 0.0)
        return Usage(sum(self._spent.values()), shared_once, resident, len(alive))

    def pids(self) -> set[int]:
        """Return the ids of the running processes."""
        self.usage()
        return self._known & _all_processes()[0].keys()


class MemoryLog:
    """Sample the memory of a process tree every `interval` seconds, in a thread, until `stop`."""

    def __init__(self, tree: ProcessTree, interval: float = 1.0) -> None:
        self._seen: list[float] = []
        self._tree = tree
        self._interval = interval
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> list[float]:
        """Take a last sample and return all, in MiB (PSS)."""
        self._stopped.set()
        self._thread.join()
        self._seen.append(self._tree.usage().megabytes)
        return self._seen

    def _watch(self) -> None:
        while not self._stopped.wait(self._interval):
            self._seen.append(self._tree.usage().megabytes)


def busy_seconds() -> float:
    """Return the processor seconds that the whole machine has spent so far, without waiting for disks."""
    fields = (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _waiting, *interrupts = map(int, fields)
    return (user + nice + system + sum(interrupts)) / _TICKS


def _all_processes() -> tuple[dict[int, int], dict[int, float]]:
    """Return the parent of every process, and the processor seconds it spent, those of waited-for children included."""
    parents: dict[int, int] = {}
    spent: dict[int, float] = {}
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            if fields[0] not in "ZX":
                parents[int(folder.name)] = int(fields[1])
                spent[int(folder.name)] = sum(map(int, fields[11:15])) / _TICKS
    return parents, spent


def _megabytes(pid: int) -> tuple[float, float]:
    """Return PSS and RSS in MiB."""
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0, 0.0
    values = {name: int(value.split()[0]) / 1024 for name, _, value in (line.partition(":") for line in lines[1:])}
    return values.get("Pss", 0.0), values.get("Rss", 0.0)
