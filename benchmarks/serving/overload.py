"""What becomes of the service when three times as much arrives as it can do, and right after."""

from typing import Any

import numpy as np

from benchmarks.serving.contenders import heed
from benchmarks.serving.load.arrivals import poisson
from benchmarks.serving.load.generator import open_loop
from benchmarks.serving.load.samples import Samples, figures, percentile
from benchmarks.serving.processes import MemoryLog
from benchmarks.serving.sessions import Session, report_line
from benchmarks.serving.workbench import Workbench
from service.settings import Settings

TIMES = 3
BEFORE = AFTER = 3.0
"""Seconds of a few requests, to know the usual latency, before and after."""
RECOVERY = 1.0
PROBES_PER_SECOND = 20.0
REST = 0.002
"""Seconds of sleep between two looks of the generator in the flood; probes before and after it are too far apart."""
CLOSED = 64
"""Connections of the closed loop whose rate, right before and right after, is the capacity."""


def run(bench: Workbench) -> dict[str, Any]:
    """Figures before, during and after."""
    contender = heed(bench.environments)
    return bench.kept("overload", contender.subject, lambda: _measure(bench))


def due_times(rate: float, seconds: float) -> tuple[np.ndarray, float]:
    """When requests are due: a few, then too many for `seconds`, a second of none, then a few; and the whole length."""
    probes = np.arange(0, BEFORE, 1 / PROBES_PER_SECOND)
    after = BEFORE + seconds + RECOVERY
    flood = BEFORE + poisson(rate, seconds, seed=13)
    return np.concatenate([probes, flood, after + probes]), after + AFTER


def _measure(bench: Workbench) -> dict[str, Any]:
    contender = heed(bench.environments)
    seconds = bench.seconds(60)
    with contender.start() as running:
        session = Session(contender, running, bench.texts)
        session.warm_up(bench.seconds(4))
        capacity_before = session.closed(CLOSED, bench.seconds(10))["requests_per_second"]
        due, whole = due_times(TIMES * capacity_before, seconds)
        log = MemoryLog(session.tree)
        told, outcome = session.measured(
            lambda: open_loop(session.target, session.requests, due, seconds=whole, rest=REST)
        )
        memory = log.stop()
        capacity_after = session.closed(CLOSED, bench.seconds(10))["requests_per_second"]
    samples = outcome.samples
    flood = samples.where((samples.due >= BEFORE) & (samples.due < BEFORE + seconds))
    told = told | {
        "capacities": [capacity_before, capacity_after],
        "deadline_ms": 1000 * Settings().deadline_seconds,
        "during": figures(flood, BEFORE + seconds) | {"requests_per_second": _accepted_rate(samples, seconds)},
        "before_p50_ms": _p50(samples, samples.due < BEFORE),
        "after_p50_ms": _p50(samples, samples.due >= BEFORE + seconds),
        "after_p99_ms": percentile(1000 * samples.where(samples.due >= BEFORE + seconds).accepted.latencies, 99),
        "megabytes": memory,
    }
    print(
        report_line(
            f"overload: {TIMES} times {capacity_before:.0f}/s for {seconds:.0f} s, {capacity_after:.0f}/s after it",
            told["during"] | {name: told[name] for name in ("server_cores", "peak_megabytes", "other_cores")},
        ),
        flush=True,
    )
    print(f"p50 before {told['before_p50_ms']:.1f} ms, one second after {told['after_p50_ms']:.1f} ms", flush=True)
    return told


def _accepted_rate(samples: Samples, seconds: float) -> float:
    """Answers with 200 a second, by when they were given."""
    ended = samples.accepted.ended
    return float(((ended >= BEFORE) & (ended < BEFORE + seconds)).sum() / seconds)


def _p50(samples: Samples, chosen: np.ndarray) -> float:
    return percentile(1000 * samples.where(chosen).accepted.latencies, 50)
