"""Part "overload": three times as many requests as the service can answer."""

from typing import Any

from benchmarks.serving.contenders import heed
from benchmarks.serving.load.generator import open_loop, poisson
from benchmarks.serving.processes import MemoryLog
from benchmarks.serving.sessions import Session, report_line
from benchmarks.serving.workbench import Workbench

TIMES = 3
SECONDS = 60
CONNECTIONS = 64
"""Connections of the closed loop that measures the capacity."""
REST = 0.002
"""Seconds that the generator sleeps between sends, so that it leaves the cores to the service."""


def run(bench: Workbench) -> dict[str, Any]:
    """Return the capacity right before and after, and the figures of the overload."""
    contender = heed(bench.environments)
    return bench.kept("overload", contender.subject, lambda: _measure(bench))


def _measure(bench: Workbench) -> dict[str, Any]:
    contender = heed(bench.environments)
    seconds = bench.seconds(SECONDS)
    with contender.start() as running:
        session = Session(contender, running, bench.texts)
        session.warm_up(bench.seconds(4))
        before = session.closed(CONNECTIONS, bench.seconds(10))["requests_per_second"]
        due = poisson(TIMES * before, seconds, seed=13)
        log = MemoryLog(session.tree)
        during = session.measured(lambda: open_loop(session.target, session.requests, due, seconds=seconds, rest=REST))
        memory = log.stop()
        after = session.closed(CONNECTIONS, bench.seconds(10))["requests_per_second"]
    print(report_line(f"{TIMES} x {before:.0f}/s for {seconds:.0f} s, {after:.0f}/s after it", during), flush=True)
    return {"capacities": [before, after], "during": during, "megabytes": memory}
