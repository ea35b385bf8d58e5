"""A running server under measured load."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np

from benchmarks.serving.contenders import Contender
from benchmarks.serving.load.generator import Outcome, closed_loop, open_loop
from benchmarks.serving.load.requests import Target
from benchmarks.serving.load.samples import figures
from benchmarks.serving.processes import MemoryLog, busy_seconds
from benchmarks.serving.services import Running, settle

_WARM_ROUNDS = 8
_STEADY = 1.05


class Session:
    """Loads one server, and says with each load's figures what server, generator and everybody else spent meanwhile.

    Args:
        contender: what runs.
        running: where.
        texts: what it is asked, in turn.
    """

    def __init__(self, contender: Contender, running: Running, texts: list[str]) -> None:
        self.contender = contender
        self.tree = running.tree
        self.url = running.url
        self.target = Target.at(running.url, contender.path, contender.body)
        self.requests = self.target.requests(texts)

    def warm_up(self, seconds: float) -> None:
        """Wait for what it does in the background, then load it in rounds until it gets no faster."""
        settle(self.tree)
        best = 0.0
        for _ in range(_WARM_ROUNDS):
            rate = self.closed(64, seconds)["requests_per_second"]
            if rate < _STEADY * best:
                return
            best = max(best, rate)

    def closed(self, connections: int, seconds: float) -> dict[str, Any]:
        """Figures in closed loop."""
        load = lambda: closed_loop(self.target, self.requests, connections=connections, seconds=seconds)  # noqa: E731
        return self.measured(load)[0]

    def open(self, due: np.ndarray, seconds: float) -> dict[str, Any]:
        """Figures in open loop, of requests that are due at these moments."""
        return self.measured(lambda: open_loop(self.target, self.requests, due, seconds=seconds))[0]

    def measured(self, load: Callable[[], Outcome]) -> tuple[dict[str, Any], Outcome]:
        """The figures of a load and what it gave."""
        memory = MemoryLog(self.tree)
        before, busy, started = self.tree.usage(), busy_seconds(), time.monotonic()
        outcome = load()
        after, busy, passed = self.tree.usage(), busy_seconds() - busy, time.monotonic() - started
        peak = max(memory.stop())
        spent = after.cpu_seconds - before.cpu_seconds
        told = figures(outcome.samples, outcome.seconds)
        answered = max(1, told["requests"])
        told |= {
            "server_cpu_ms_per_request": 1000 * spent / answered,
            "server_cores": spent / passed,
            "generator_cpu_ms_per_request": 1000 * outcome.own_cpu_seconds / answered,
            "other_cores": max(0.0, busy - spent - outcome.own_cpu_seconds) / passed,
            "peak_megabytes": peak,
        }
        return told, outcome

    def answers(self, texts: list[str]) -> list[dict[str, Any]]:
        """What it says of each text, one after the other, in the fields that all servers have."""
        with httpx.Client(base_url=self.url, timeout=60.0) as client:
            given = []
            for text in texts:
                response = client.post(self.contender.path, json=self.contender.body(text))
                response.raise_for_status()
                given.append(self.contender.answer(response.json()))
        return given


def report_line(name: str, told: dict[str, Any]) -> str:
    """One load's figures, as a line to print."""
    statuses = ", ".join(f"{status}: {count}" for status, count in told["statuses"].items())
    return (
        f"{name}: {told['requests_per_second']:.0f} requests/s, p50 {told['p50_ms']:.1f} ms, p99 {told['p99_ms']:.1f} "
        f"ms, p99.9 {told['p99.9_ms']:.1f} ms, {statuses}; server {told['server_cores']:.2f} cores, "
        f"{told['peak_megabytes']:.0f} MB; others {told['other_cores']:.2f} cores"
    )
