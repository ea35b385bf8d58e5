"""What a process and all it started spend: processor time and memory, read from /proc (Linux)."""

import os
import threading
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


class Usage(NamedTuple):
    """What a process tree has spent so far.

    Attributes:
        cpu_seconds: user and system time of all its processes, with those that ended and were waited for.
        megabytes: resident memory (2**20 bytes), a page that several processes share counted once (PSS).
        processes: how many there are.
    """

    cpu_seconds: float
    megabytes: float
    processes: int


class ProcessTree:
    """A process and its descendants; one that outlives its parent stays in it, once it was seen."""

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
        return Usage(sum(self._spent.values()), sum(map(_resident_megabytes, alive)), len(alive))

    def pids(self) -> set[int]:
        """Those that run now."""
        self.usage()
        return self._known & _all_processes()[0].keys()


class PeakMemory:
    """The most memory that a tree was seen to hold: a thread looks every `interval` seconds until `stop`."""

    def __init__(self, tree: ProcessTree, interval: float = 1.0) -> None:
        self.megabytes = 0.0
        self._tree = tree
        self._interval = interval
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """Look a last time; the most there was."""
        self._stopped.set()
        self._thread.join()
        self._look()
        return self.megabytes

    def _watch(self) -> None:
        while not self._stopped.wait(self._interval):
            self._look()

    def _look(self) -> None:
        self.megabytes = max(self.megabytes, self._tree.usage().megabytes)


def _all_processes() -> tuple[dict[int, int], dict[int, float]]:
    """Of every process the parent, and the processor seconds that it and the children it waited for spent."""
    parents: dict[int, int] = {}
    spent: dict[int, float] = {}
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it ended meanwhile
                continue
            if fields[0] not in "ZX":
                parents[int(folder.name)] = int(fields[1])
                spent[int(folder.name)] = sum(map(int, fields[11:15])) / _TICKS
    return parents, spent


def _resident_megabytes(pid: int) -> float:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)
