"""Targets of the benchmarks, and whether a figure meets its target."""

from typing import NamedTuple


class Target(NamedTuple):
    """A target for a figure.

    Attributes:
        what: the figure.
        bound: its lowest or highest value.
        unit: written behind the figure.
        at_least: whether `bound` is the lowest value; otherwise it is the highest.
        aim: a better value to work towards.
    """

    what: str
    bound: float
    unit: str
    at_least: bool = True
    aim: float | None = None


TARGETS = {
    "best_peer": Target("requests/s at 64 connections, over the best batching peer", 6, "x", aim=8),
    "predict": Target("requests/s at 64 connections, over FastAPI + `model.predict`", 50, "x"),
    "disagreement": Target("servers whose answers differ", 0, "", at_least=False),
    "one_connection": Target("one connection: p50 above the bare forward pass", 0.8, " ms", at_least=False),
    "overload_rate": Target("3x capacity: answers with 200, of capacity", 80, "%"),
    "overload_others": Target("3x capacity: answers that are neither 200 nor 429", 0, "", at_least=False),
    "overload_p99": Target("3x capacity: p99 of the accepted", 1, " s", at_least=False),
    "overload_memory": Target("3x capacity: growth of memory after the first ten seconds", 5, "%", at_least=False),
    "onnx_ready": Target("`HEED_ENGINE=onnx`: ready", 1.0, " s", at_least=False),
    "onnx_memory": Target("`HEED_ENGINE=onnx`: memory while serving", 200, " MB", at_least=False),
    "onnx_rate": Target("`HEED_ENGINE=onnx`: requests/s, of the default engine's", 0.9, "x"),
    "keras_no_kernels": Target("without kernels: requests/s, over the best batching peer", 3, "x"),
    "onnx_no_kernels": Target("`HEED_ENGINE=onnx` without kernels: requests/s, over the best batching peer", 3, "x"),
    "score": Target("`score`: rows/s, of the engine alone", 80, "%"),
}


class Verdict(NamedTuple):
    """A figure beside its target."""

    what: str
    figure: str
    target: str
    met: bool

    def __str__(self) -> str:
        return f"{'met   ' if self.met else 'MISSED'}  {self.what}: {self.figure} (target: {self.target})"


def judge(name: str, value: float) -> Verdict:
    """Compare a figure with the target called `name`."""
    target = TARGETS[name]
    bound = f"{'at least' if target.at_least else 'at most'} {target.bound:g}{target.unit}"
    aim = f", aim {target.aim:g}{target.unit}" if target.aim is not None else ""
    met = value >= target.bound if target.at_least else value <= target.bound
    return Verdict(target.what, f"{value:.3g}{target.unit}", bound + aim, met)
