"""The plots of docs/performance.md."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.serving.comparison import AT, CONNECTIONS, capacity

_INK, _GRID, _OURS, _THEIRS = "#1f2933", "#d9dee4", "#b7791f", "#9aa5b1"
_STYLE: Any = {
    "font.size": 9,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


_MARKERS = "osD^vP*X"

FOLDER = "performance"
PICTURES = {
    "peers": f"Requests a second of each server at {AT} connections",
    "latency": "99th percentile of latency over requests a second, for 1, 8, 64 and 256 connections",
    "memory": "Resident memory of the service over the soak",
}
"""What each picture shows, by the name of its file."""


def write(folder: Path, figures: Mapping[str, dict[str, Any]]) -> list[Path]:
    """Draw what the parts which were run allow."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn: dict[str, Figure] = {}
    with mpl.rc_context(_STYLE):
        if "peers" in figures:
            drawn |= {"peers": _rates(figures["peers"]), "latency": _latencies(figures["peers"])}
        if "soak" in figures:
            drawn["memory"] = _memory(figures["soak"])
        return [_save(figure, folder / f"{name}.png") for name, figure in drawn.items()]


def _rates(told: dict[str, Any]) -> Figure:
    """Requests a second at 64 connections, a bar a server, the fastest on top."""
    names = sorted(told["order"], key=lambda name: capacity(told["contenders"][name]))
    figure, axes = _one(len(names) * 0.36 + 0.9)
    values = [capacity(told["contenders"][name]) for name in names]
    bars = axes.barh([_plain(told, name) for name in names], values, color=[_colour(name) for name in names])
    axes.bar_label(bars, [f"{value:.0f}" for value in values], padding=3)
    axes.set_xlabel(f"requests/s, {AT} connections")
    axes.tick_params(length=0)
    return figure


def _latencies(told: dict[str, Any]) -> Figure:
    """p99 over requests a second, a line a server through its numbers of connections."""
    figure, axes = _one(3.6)
    for name, marker in zip(told["order"], itertools.cycle(_MARKERS), strict=False):
        every = (told["contenders"][name]["closed"][str(count)] for count in CONNECTIONS)
        closed = [each for each in every if each["requests_per_second"] >= 1]  # none has no place on this axis
        rates, p99 = [each["requests_per_second"] for each in closed], [each["p99_ms"] for each in closed]
        axes.plot(rates, p99, marker=marker, markersize=5, color=_colour(name), linewidth=1.2, label=_plain(told, name))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.grid(color=_GRID, linewidth=0.6)
    axes.set_xlabel(f"requests/s with {', '.join(map(str, CONNECTIONS))} connections")
    axes.set_ylabel("p99, ms")
    return figure


def _memory(told: dict[str, Any]) -> Figure:
    """Resident memory over the requests of the soak."""
    figure, axes = _one(2.6)
    requests, megabytes = zip(*told["megabytes"], strict=True)
    axes.plot([count / 1000 for count in requests], megabytes, color=_OURS)
    axes.set_ylim(0, 1.15 * max(megabytes))
    axes.set_xlabel("thousand requests")
    axes.set_ylabel("resident memory, MB")
    axes.grid(color=_GRID, linewidth=0.6)
    return figure


def _one(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7.2, height))
    return figure, figure.add_subplot()


def _plain(told: dict[str, Any], name: str) -> str:
    return str(told["titles"][name]).replace("`", "")


def _colour(name: str) -> str:
    return _OURS if name.startswith("heed") else _THEIRS


def _save(figure: Figure, file: Path) -> Path:
    figure.savefig(file, dpi=110, bbox_inches="tight", metadata={"Software": None})
    return file
