"""How long each engine takes from the start of its process until it is ready, and what it holds in memory."""

import statistics
from functools import partial
from typing import Any

from benchmarks.serving.contenders import engines, heed
from benchmarks.serving.sessions import Session
from benchmarks.serving.workbench import Workbench

STARTS = 3


def run(bench: Workbench) -> dict[str, Any]:
    """Figures by engine."""
    told = {}
    for engine in engines():
        contender = heed(bench.environments, engine)
        told[engine] = bench.kept(f"startup-{engine}", contender.subject, partial(_measure, bench, engine))
    return told


def _measure(bench: Workbench, engine: str) -> dict[str, Any]:
    """One start that is not counted, which fills the caches; memory once everything is compiled and was used."""
    contender = heed(bench.environments, engine)
    with contender.start():
        pass
    ready, at_ready = [], []
    for start in range(STARTS):
        with contender.start() as running:
            ready.append(running.seconds_until_ready)
            at_ready.append(running.tree.usage().resident_megabytes)
            if start == STARTS - 1:
                session = Session(contender, running, bench.texts)
                session.warm_up(bench.seconds(4))
                told = session.closed(64, bench.seconds(8))
                serving = running.tree.usage().resident_megabytes
    print(
        f"{contender.title}: ready after {statistics.median(ready):.2f} s, {serving:.0f} MB resident while serving",
        flush=True,
    )
    return {
        "seconds_until_ready": ready,
        "megabytes_when_ready": at_ready,
        "megabytes_serving": serving,
        "requests_per_second": told["requests_per_second"],
    }
