"""Many requests on end: whether anything is compiled while serving, and whether memory grows."""

import re
from typing import Any

import httpx

from benchmarks.serving.contenders import heed
from benchmarks.serving.load.generator import closed_loop
from benchmarks.serving.load.samples import percentile
from benchmarks.serving.sessions import Session
from benchmarks.serving.workbench import Workbench

CONNECTIONS = 64
ROUND_SECONDS = 10.0
BASE_SHARE = 0.1
"""Memory counts from here on: after the first tenth of the requests."""
_RETRACES = re.compile(r"^heed_retraces_total\{[^}]*\} (\S+)$", re.MULTILINE)


def run(bench: Workbench) -> dict[str, Any]:
    """Figures of the whole soak."""
    contender = heed(bench.environments)
    return bench.kept("soak", [contender.subject, bench.soak], lambda: _measure(bench))


def retraces(url: str) -> float:
    """Compilations after warm-up, as the service counts them.

    Raises:
        ValueError: it does not say.
    """
    counts = _RETRACES.findall(httpx.get(f"{url}/metrics").raise_for_status().text)
    if not counts:
        raise ValueError("Expected heed_retraces_total among the metrics. It is not there.")
    return sum(map(float, counts))


def _measure(bench: Workbench) -> dict[str, Any]:
    contender = heed(bench.environments)
    with contender.start() as running:
        session = Session(contender, running, bench.texts)
        session.warm_up(bench.seconds(4))
        done, statuses, memory, p99 = 0, set(), [], []
        while done < bench.soak:
            outcome = closed_loop(session.target, session.requests, connections=CONNECTIONS, seconds=ROUND_SECONDS)
            done += len(outcome.samples.status)
            statuses |= set(outcome.samples.status.tolist())
            memory.append([done, session.tree.usage().resident_megabytes])
            p99.append(percentile(1000 * outcome.samples.accepted.latencies, 99))
            print(f"soak: {done} of {bench.soak} requests, {memory[-1][1]:.0f} MB resident", flush=True)
        counted = [megabytes for requests, megabytes in memory if requests >= BASE_SHARE * bench.soak]
        return {
            "requests": done,
            "statuses": sorted(statuses),
            "retraces": retraces(session.url),
            "megabytes": memory,
            "growth": max(counted) / counted[0] - 1,
            "p99_ms": p99,
        }
