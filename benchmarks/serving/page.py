"""docs/performance.md: its tables, each between its two marks."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.serving import acceptance
from benchmarks.serving.comparison import AT, CONNECTIONS, capacity
from benchmarks.serving.pictures import FOLDER, PICTURES


def parts(figures: Mapping[str, dict[str, Any]]) -> dict[str, str]:
    """The tables in Markdown that the parts which were run allow, by the name of their marks."""
    made: dict[str, str] = {}
    if "peers" in figures:
        told = figures["peers"]
        made["rates"] = "\n\n".join((rates(told), _picture("peers"), _picture("latency")))
        made |= {"open loop": open_loop(told), "spent": spent(told), "agreement": agreement(told)}
    if "limits" in figures:
        made["limits"] = limits(figures["limits"])
    if "soak" in figures:
        made["soak"] = _picture("memory")
    found = acceptance.lines(dict(figures))
    if found:
        made["targets"] = targets(found)
    return made


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Markdown, with all columns but the first to the right."""
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def rates(told: dict[str, Any]) -> str:
    """Requests a second by connections, and latency at 64 of them."""
    head = ("", *(f"requests/s, {count} connection{'s' * (count > 1)}" for count in CONNECTIONS))
    head += (f"p50 at {AT}, ms", "p99, ms", "p99.9, ms", "not 200", "of Heed's requests/s")
    ours = capacity(told["contenders"]["heed"])
    rows = []
    for name in told["order"]:
        closed = told["contenders"][name]["closed"]
        at = closed[AT]
        cells = [f"{closed[str(count)]['requests_per_second']:.0f}" for count in CONNECTIONS]
        cells += [f"{at[which]:.0f}" for which in ("p50_ms", "p99_ms", "p99.9_ms")]
        cells += [str(_failed(closed)), f"1/{ours / capacity(told['contenders'][name]):.1f}" if name != "heed" else ""]
        rows.append((_title(told, name), *cells))
    return table(head, rows)


def open_loop(told: dict[str, Any]) -> str:
    """Latency when requests come whether or not others were answered."""
    head = ("p50, p99 in ms", "at 70% of its own rate", "at 40%, bursts to 120%", "at its own rate")
    rows = []
    for name in told["order"]:
        loads = told["contenders"][name]["open"]
        cells = [f"{loads[load]['p50_ms']:.0f}, {loads[load]['p99_ms']:.0f}" for load in loads]
        rows.append((_title(told, name), *cells))
    ours = told["heed_at_best_rate"]
    best = told["titles"][told["best_batching"]]
    rate = f"Heed at the rate of {best}, {told['best_rate']:.0f}/s"
    return table(head, [*rows, (rate, "", "", f"{ours['p50_ms']:.0f}, {ours['p99_ms']:.0f}")])


def spent(told: dict[str, Any]) -> str:
    """What a request costs, memory and time to ready."""
    head = ("", "processor ms a request", "peak memory, MB", "ready after, s", "set-up")
    rows = []
    for name in told["order"]:
        figures = told["contenders"][name]
        at = figures["closed"][AT]
        peak = max(each["peak_megabytes"] for each in (*figures["closed"].values(), *figures["open"].values()))
        cells = (f"{at['server_cpu_ms_per_request']:.1f}", f"{peak:.0f}", f"{figures['seconds_until_ready']:.1f}")
        rows.append((_title(told, name), *cells, told["variants"].get(name, "")))
    return table(head, rows)


def agreement(told: dict[str, Any]) -> str:
    """How far the peers' answers are from Heed's."""
    head = ("beside Heed", "reviews", "other labels", "other tokens", "scores", "weights", "contributions")
    rows = []
    for name, differences in told["agreement"].items():
        counts = (str(differences[which]) for which in ("texts", "labels", "tokens"))
        distances = (f"{differences[which]:.1e}" for which in ("scores", "weights", "contributions"))
        rows.append((_title(told, name), *counts, *distances))
    return table(head, rows)


def limits(told: dict[str, Any]) -> str:
    """What the service could reach at most."""
    engine, http, null = told["engine"], told["http"], told["null_engine"]
    arithmetic = told["arithmetic"]
    peak = arithmetic["gemm_peak_flops"]
    rows = [
        ("the service, 64 connections", http["64"]["requests_per_second"]),
        ("its engine alone, all texts by length", engine["texts_per_second"]),
        ("the service with an engine that does nothing, 64 connections", null["64"]["requests_per_second"]),
        *((f"the graph in {_RUNTIMES[name]}, its best set-up", rate) for name, rate in told["runtimes"].items()),
        ("the products of the graph at the speed of a large one", peak / arithmetic["flops_per_text"]),
    ]
    over = http["1"]["p50_ms"] - engine["single_p50_ms"]
    return "\n\n".join(
        (
            table(("", "texts/s"), [(what, f"{rate:.0f}") for what, rate in rows]),
            *(f"{title} does not run the graph." for name, title in _RUNTIMES.items() if name not in told["runtimes"]),
            f"A review has {engine['tokens_per_text']:.0f} tokens on average and takes "
            f"{arithmetic['flops_per_text'] / 1e6:.0f} million operations in the products of the saved graph; a large "
            f"float32 product runs at {peak / 1e9:.0f} billion a second on these cores. One text alone takes the "
            f"engine {engine['single_p50_ms']:.2f} ms, one connection {http['1']['p50_ms']:.2f} ms (medians): HTTP, "
            f"tokenizer, queue and JSON add {over:.2f} ms.",
            f"The service and its engine alone were measured by turns, and came to shares of "
            f"{', '.join(f'{share:.1%}' for share in told['shares'])}; the first two rows are of the middle one.",
        )
    )


def targets(found: list[acceptance.Line]) -> str:
    """What is demanded, and what came out."""
    rows = [(line.what, line.figure, line.target, "yes" if line.met else "**no**") for line in found]
    return table(("", "measured", "target", "met"), rows)


def _picture(name: str) -> str:
    return f"![{PICTURES[name]}]({FOLDER}/{name}.png)"


def _failed(loads: dict[str, Any]) -> int:
    return sum(count for load in loads.values() for status, count in load["statuses"].items() if status != "200")


def _title(told: dict[str, Any], name: str) -> str:
    title = str(told["titles"][name])
    return f"**{title}**" if name.startswith("heed") else title


_RUNTIMES = {"xla": "XLA", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
