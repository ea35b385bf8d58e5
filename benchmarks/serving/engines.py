"""Part "engines": start, memory and rate of every engine, with and without kernels."""

from collections.abc import Iterator
from functools import partial
from statistics import median
from typing import Any

from benchmarks.serving.agreement import condensed, largest_differences
from benchmarks.serving.contenders import ENGINES, Contender, heed
from benchmarks.serving.sessions import Session, report_line
from benchmarks.serving.workbench import Workbench

ROUNDS = 3
CONNECTIONS = 64
COMPARED_TEXTS = 48


def run(bench: Workbench) -> dict[str, Any]:
    """Return the figures of each engine, and how far its answers are from those of the default one."""
    contenders = [heed(bench.environments, engine, kernels=kernels) for engine in ENGINES for kernels in (True, False)]
    starts: dict[str, list[dict[str, Any]]] = {each.name: [] for each in contenders}
    for number in range(1 if bench.quick else ROUNDS):  # alternately, because the speed of a machine drifts
        for each in contenders:
            name = f"engine-{each.name}-{number}"
            starts[each.name].append(bench.kept(name, each.subject, partial(_measure, bench, each)))
    default = starts[contenders[0].name][0]["answers"]
    return {
        each.name: {"title": each.title, **dict(_summary(starts[each.name]))}
        | {"agreement": largest_differences(default, starts[each.name][0]["answers"])}
        for each in contenders
    }


def _summary(starts: list[dict[str, Any]]) -> Iterator[tuple[str, float]]:
    for name in ("seconds_until_ready", "megabytes_when_ready", "megabytes_serving", "requests_per_second"):
        yield name, median(start[name] for start in starts)


def _measure(bench: Workbench, contender: Contender) -> dict[str, Any]:
    with contender.start() as running:
        at_ready = running.tree.usage().resident_megabytes
        session = Session(contender, running, bench.texts)
        session.warm_up(bench.seconds(4))
        figures = session.closed(CONNECTIONS, bench.seconds(8))
        serving = running.tree.usage().resident_megabytes
        answers = condensed(session.answers(bench.texts[:COMPARED_TEXTS]))
    print(report_line(f"{contender.title}, ready after {running.seconds_until_ready:.2f} s", figures), flush=True)
    return {
        "seconds_until_ready": running.seconds_until_ready,
        "megabytes_when_ready": at_ready,
        "megabytes_serving": serving,
        "requests_per_second": figures["requests_per_second"],
        "answers": answers,
    }
