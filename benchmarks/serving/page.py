"""Tables and verdicts of docs/performance.md."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from benchmarks.serving.agreement import agree
from benchmarks.serving.comparison import AT, CONNECTIONS, rate
from benchmarks.targets import Verdict, judge

_SETTLED_SAMPLES = 10  # memory samples, one a second, before it counts as settled
_EXPECTED_STATUSES = {"200", "429"}


def tables(figures: Mapping[str, dict[str, Any]]) -> dict[str, str]:
    """Return the tables in Markdown, by the name of their marks; `figures` holds those of each part by its name."""
    made: dict[str, str] = {}
    if "peers" in figures:
        made["peers"] = _peers_table(figures["peers"])
    if "engines" in figures:
        made["engines"] = _engines_table(figures["engines"])
    rows = [(one.what, one.figure, one.target, "yes" if one.met else "**no**") for one in verdicts(figures)]
    made["targets"] = _table(("", "measured", "target", "met"), rows)
    return made


def verdicts(figures: Mapping[str, dict[str, Any]]) -> list[Verdict]:
    """Judge all targets for which there are figures."""
    found: list[Verdict] = []
    best = _best_rate(figures["peers"]) if "peers" in figures else None
    if "peers" in figures:
        found += _judge_peers(figures["peers"], best)
    if "single" in figures:
        single = figures["single"]
        found.append(judge("one_connection", single["served_p50_ms"] - single["bare_p50_ms"]))
    if "overload" in figures:
        found += _judge_overload(figures["overload"])
    if "engines" in figures:
        found += _judge_engines(figures["engines"], best)
    return found


def _best_rate(peers: dict[str, Any]) -> float | None:
    best = peers["best_batching"]
    return None if best is None else rate(peers["contenders"][best])


def _judge_peers(peers: dict[str, Any], best: float | None) -> Iterator[Verdict]:
    ours = rate(peers["contenders"][peers["ours"]])
    if best is not None:
        yield judge("best_peer", ours / best)
    if "fastapi_predict" in peers["contenders"]:
        yield judge("predict", ours / rate(peers["contenders"]["fastapi_predict"]))
    yield judge("disagreement", sum(not agree(differences) for differences in peers["agreement"].values()))


def _judge_overload(overload: dict[str, Any]) -> Iterator[Verdict]:
    during, memory = overload["during"], overload["megabytes"]
    yield judge("overload_rate", 100 * during["requests_per_second"] / fmean(overload["capacities"]))
    others = [count for status, count in during["statuses"].items() if status not in _EXPECTED_STATUSES]
    yield judge("overload_others", sum(others))
    yield judge("overload_p99", during["p99_ms"] / 1000)
    settled = memory[min(_SETTLED_SAMPLES, len(memory) - 1) :]
    yield judge("overload_memory", 100 * (max(settled) / settled[0] - 1))


def _judge_engines(engines: dict[str, Any], best: float | None) -> Iterator[Verdict]:
    onnx, keras = engines["heed-onnx"], engines["heed-keras"]
    yield judge("onnx_ready", onnx["seconds_until_ready"])
    yield judge("onnx_memory", onnx["megabytes_serving"])
    yield judge("onnx_rate", onnx["requests_per_second"] / keras["requests_per_second"])
    if best is not None:
        for engine in ("keras", "onnx"):
            yield judge(f"{engine}_no_kernels", engines[f"heed-{engine}-no-kernels"]["requests_per_second"] / best)


def _peers_table(peers: dict[str, Any]) -> str:
    head = ("requests/s at", *(f"{count} connection{'s' * (count > 1)}" for count in CONNECTIONS))
    head += (f"p50 at {AT}, ms", "p99, ms", "CPU ms a request", "peak MB", "ready, s", "largest difference", "set-up")
    rows = []
    for name, title in peers["titles"].items():
        figures = peers["contenders"][name]
        closed, at = figures["closed"], figures["closed"][AT]
        cells = [f"{closed[str(count)]['requests_per_second']:.0f}" for count in CONNECTIONS]
        cells += [f"{at['p50_ms']:.0f}", f"{at['p99_ms']:.0f}", f"{at['server_cpu_ms_per_request']:.1f}"]
        cells += [f"{max(each['peak_megabytes'] for each in closed.values()):.0f}"]
        cells += [f"{figures['seconds_until_ready']:.1f}"]
        cells += [_difference(peers["agreement"].get(name)), peers["variants"].get(name, "")]
        rows.append((f"**{title}**" if name == peers["ours"] else title, *cells))
    return _table(head, rows)


def _engines_table(engines: dict[str, Any]) -> str:
    head = ("", "ready, s", "MB when ready", "MB while serving", "requests/s", "largest difference")
    rows = [
        (
            each["title"],
            f"{each['seconds_until_ready']:.2f}",
            f"{each['megabytes_when_ready']:.0f}",
            f"{each['megabytes_serving']:.0f}",
            f"{each['requests_per_second']:.0f}",
            _difference(each["agreement"]),
        )
        for each in engines.values()
    ]
    return _table(head, rows)


def _difference(differences: dict[str, Any] | None) -> str:
    if differences is None:
        return ""
    if differences["labels"] or differences["tokens"]:
        return "labels or tokens"
    return f"{max(differences['scores'], differences['weights'], differences['contributions']):.0e}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
