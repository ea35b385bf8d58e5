"""Load a running server and measure it."""

import time
from collections.abc import Callable
from typing import Any

import httpx

from benchmarks.serving.contenders import Contender
from benchmarks.serving.load.generator import Outcome, closed_loop
from benchmarks.serving.load.requests import Target
from benchmarks.serving.load.samples import figures
from benchmarks.serving.processes import MemoryLog, busy_seconds
from benchmarks.serving.services import Running, settle

_WARM_ROUNDS = 8
_STEADY = 1.05


class Session:
    """A server under load; figures say what server, generator and everything else on the machine spent.

    Args:
        contender: the server.
        running: its process.
        texts: the texts to send, in turn.
    """

    def __init__(self, contender: Contender, running: Running, texts: list[str]) -> None:
        self.contender = contender
        self.tree = running.tree
        self.url = running.url
        self.target = Target.at(running.url, contender.path, contender.body)
        self.requests = self.target.requests(texts)

    def warm_up(self, seconds: float) -> None:
        """Wait for work in the background to end, then send requests until the server gets no faster."""
        settle(self.tree)
        best = 0.0
        for _ in range(_WARM_ROUNDS):
            rate = self.closed(64, seconds)["requests_per_second"]
            if rate < _STEADY * best:
                return
            best = max(best, rate)

    def closed(self, connections: int, seconds: float) -> dict[str, Any]:
        """Return the figures of a closed loop."""
        return self.measured(lambda: closed_loop(self.target, self.requests, connections=connections, seconds=seconds))

    def measured(self, load: Callable[[], Outcome]) -> dict[str, Any]:
        """Return the figures of a load."""
        memory = MemoryLog(self.tree)
        before, busy, started = self.tree.usage(), busy_seconds(), time.monotonic()
        outcome = load()
        after, busy, passed = self.tree.usage(), busy_seconds() - busy, time.monotonic() - started
        peak = max(memory.stop())
        spent = after.cpu_seconds - before.cpu_seconds
        found = figures(outcome.samples, outcome.seconds)
        answered = max(1, found["requests"])
        return found | {
            "server_cpu_ms_per_request": 1000 * spent / answered,
            "server_cores": spent / passed,
            "generator_cpu_ms_per_request": 1000 * outcome.own_cpu_seconds / answered,
            "other_cores": max(0.0, busy - spent - outcome.own_cpu_seconds) / passed,
            "peak_megabytes": peak,
        }

    def answers(self, texts: list[str]) -> list[dict[str, Any]]:
        """Return the answer to each text, sent one after the other, in the fields that all servers share."""
        with httpx.Client(base_url=self.url, timeout=60.0) as client:
            answers = []
            for text in texts:
                response = client.post(self.contender.path, json=self.contender.body(text))
                response.raise_for_status()
                answers.append(self.contender.answer(response.json()))
        return answers


def report_line(name: str, found: dict[str, Any]) -> str:
    """Return the figures of a load as a line to print."""
    statuses = ", ".join(f"{status}: {count}" for status, count in found["statuses"].items())
    return (
        f"{name}: {found['requests_per_second']:.0f} requests/s, p50 {found['p50_ms']:.1f} ms, p99 "
        f"{found['p99_ms']:.1f} ms, {statuses}; server {found['server_cores']:.2f} cores, "
        f"{found['peak_megabytes']:.0f} MB; generator {found['generator_cpu_ms_per_request']:.3f} ms a request; "
        f"others {found['other_cores']:.2f} cores"
    )
