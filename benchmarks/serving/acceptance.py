"""What the service is held to, each line with its figure, its target and whether it is met."""

from collections.abc import Iterator
from statistics import fmean
from typing import Any, NamedTuple

from benchmarks.serving.agreement import agree
from benchmarks.serving.comparison import AT, capacity
from benchmarks.serving.lengths import LONG, SHORT
from benchmarks.serving.overload import TIMES

READY_SECONDS = {"keras": 5.0, "onnx": 1.5}
MEGABYTES = {"keras": 900.0, "onnx": 350.0}
GOOD_STATUSES = {"200", "429", "504"}


class Line(NamedTuple):
    """One thing that is demanded."""

    what: str
    figure: str
    target: str
    met: bool

    def __str__(self) -> str:
        return f"{'pass' if self.met else 'FAIL'}  {self.what}: {self.figure}; target {self.target}"


def lines(figures: dict[str, Any]) -> list[Line]:
    """Every line that the parts which were run allow; `figures` holds each part's by its name."""
    found: list[Line] = []
    if "peers" in figures:
        found += _peers(figures["peers"])
    if "limits" in figures:
        found += _limits(figures["limits"])
    if "lengths" in figures:
        found += _lengths(figures["lengths"])
    if "overload" in figures:
        found += _overload(figures["overload"])
    if "soak" in figures:
        found += _soak(figures["soak"])
    if "startup" in figures:
        found += _startup(figures["startup"])
    return found


def _at_least(what: str, value: float, target: float, unit: str) -> Line:
    return Line(what, f"{value:.2f}{unit}", f"at least {target:g}{unit}", value >= target)


def _at_most(what: str, value: float, target: float, unit: str) -> Line:
    return Line(what, f"{value:.2f}{unit}", f"at most {target:g}{unit}", value <= target)


def _peers(told: dict[str, Any]) -> Iterator[Line]:
    ours = capacity(told["contenders"]["heed"])
    best, plain = told["best_batching"], capacity(told["contenders"]["fastapi_predict"])
    title = told["titles"][best]
    yield _at_least(f"requests/s at {AT} connections over {title}'s", ours / told["best_rate"], 8, "x")
    yield _at_least(f"requests/s at {AT} connections over plain FastAPI's", ours / plain, 50, "x")
    theirs = told["contenders"][best]["open"]["saturated"]["p99_ms"]
    share = told["heed_at_best_rate"]["p99_ms"] / theirs
    yield _at_most(f"p99 at {title}'s saturation rate, {told['best_rate']:.0f}/s, over its own", share, 0.25, "x")
    differing = [name for name, differences in told["agreement"].items() if not agree(differences)]
    texts = next(iter(told["agreement"].values()))["texts"]
    yield Line(f"servers that answer {texts} reviews differently", str(len(differing)), "0", not differing)


def _limits(told: dict[str, Any]) -> Iterator[Line]:
    engine, http = told["engine"], told["http"]
    share = http["64"]["requests_per_second"] / engine["texts_per_second"]
    yield _at_least(f"HTTP at {AT} connections over the engine alone", 100 * share, 60, "%")
    name, best = max(told["runtimes"].items(), key=lambda each: each[1])
    ratio = best / engine["texts_per_second"]
    yield _at_most(
        f"texts/s of the graph in {name}, the fastest of {len(told['runtimes'])}, over the engine's", ratio, 2, "x"
    )
    over = http["1"]["p50_ms"] - engine["single_p50_ms"]
    yield _at_most("one connection: p50 above the bare forward pass", over, 1.5, " ms")


def _lengths(told: dict[str, Any]) -> Iterator[Line]:
    ratio = told["open"]["mixed"] / told["open"]["alone"]
    turns = ", ".join(f"{turn['mixed'] / turn['alone']:.2f}" for turn in told["turns"])
    what = f"p99 of {SHORT}-token requests among 10% of {LONG}-token ones, over alone; by turns {turns}"
    yield _at_most(what, ratio, 3, "x")


def _overload(told: dict[str, Any]) -> Iterator[Line]:
    during = told["during"]
    share = during["requests_per_second"] / fmean(told["capacities"])
    capacities = " and ".join(f"{rate:,.0f}" for rate in told["capacities"])
    what = f"{TIMES} times capacity: throughput, of {capacities} requests/s right before and right after"
    yield Line(what, f"{share:.0%}", "at least 90%", share >= 0.9)
    other = {status: count for status, count in during["statuses"].items() if status not in GOOD_STATUSES}
    yield Line(f"{TIMES} times capacity: statuses", _counts(during["statuses"]), "200, 429, 504 alone", not other)
    yield _at_most(
        f"{TIMES} times capacity: p99 of the accepted", during["p99_ms"] / 1000, told["deadline_ms"] / 1000, " s"
    )
    memory = told["megabytes"]
    settled = memory[len(memory) // 6 :]
    growth = 100 * (max(settled) / settled[0] - 1)
    yield _at_most(f"{TIMES} times capacity: growth of memory after a sixth of it", growth, 5, "%")
    yield _at_most("p50 one second after the load, over before", told["after_p50_ms"] / told["before_p50_ms"], 1.5, "x")


def _soak(told: dict[str, Any]) -> Iterator[Line]:
    yield Line(f"retraces in {told['requests']:,} requests", f"{told['retraces']:.0f}", "0", told["retraces"] == 0)
    yield _at_most("growth of memory after the first tenth of them", 100 * told["growth"], 2, "%")


def _startup(told: dict[str, Any]) -> Iterator[Line]:
    for engine, figures in told.items():
        ready = sorted(figures["seconds_until_ready"])[len(figures["seconds_until_ready"]) // 2]
        yield _at_most(f"{engine}: ready", ready, READY_SECONDS[engine], " s")
        yield _at_most(f"{engine}: resident memory", figures["megabytes_serving"], MEGABYTES[engine], " MB")


def _counts(statuses: dict[str, int]) -> str:
    return ", ".join(f"{count:,} of {status}" for status, count in statuses.items())
