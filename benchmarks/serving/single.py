"""Part "single": what the service adds to a forward pass, with one connection."""

import json
import subprocess
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.serving.contenders import heed
from benchmarks.serving.services import BUNDLE, ROOT, SERVE_PYTHON
from benchmarks.serving.sessions import Session, report_line
from benchmarks.serving.workbench import Workbench

TURNS = 3
TEXTS = 256


def run(bench: Workbench) -> dict[str, Any]:
    """Return the median latencies of requests and of bare forward passes, each the median of its turns."""
    contender = heed(bench.environments)
    return bench.kept("single", contender.subject, lambda: _measure(bench))


def _measure(bench: Workbench) -> dict[str, Any]:
    """Measure both alternately, because the speed of a machine drifts."""
    contender = heed(bench.environments)
    served, bare = [], []
    with contender.start() as running:
        session = Session(contender, running, bench.texts[:TEXTS])
        session.warm_up(bench.seconds(4))
        for _ in range(TURNS):
            figures = session.closed(1, bench.seconds(6))
            print(report_line(f"{contender.title}, 1 connection", figures), flush=True)
            served.append(figures["p50_ms"])
            bare.append(_bare_forward_pass(bench.texts[:TEXTS]))
            print(f"forward pass alone: p50 {bare[-1]:.2f} ms", flush=True)
    return {"served_p50_ms": median(served), "bare_p50_ms": median(bare), "served": served, "bare": bare}


def _bare_forward_pass(texts: list[str]) -> float:
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".json") as file:
        json.dump(texts, file)
        file.flush()
        command = [SERVE_PYTHON, "-m", "benchmarks.serving.engine_alone", BUNDLE, Path(file.name)]
        done = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"engine_alone ended with status {done.returncode}:\n{done.stderr[-4000:]}")
    return float(done.stdout.splitlines()[-1])
