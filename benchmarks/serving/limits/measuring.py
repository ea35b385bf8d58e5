"""The limits part: each of them in a process of its own, one after the other; what is compared closely, by turns."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import onnx

from benchmarks.serving.contenders import Contender, heed, sources
from benchmarks.serving.environments import environment
from benchmarks.serving.limits.arithmetic import flops_per_token, gemm_peak_flops
from benchmarks.serving.services import BUNDLE, ROOT, SERVE_PYTHON, Running, answers_get, free_port, running
from benchmarks.serving.sessions import Session, report_line
from benchmarks.serving.workbench import Workbench

LOCK = Path(__file__).parent / "requirements.txt"
BATCHES = (1, 8, 32)
RUNTIME_TEXTS = 512
TURNS = 3


def run(bench: Workbench) -> dict[str, Any]:
    """Figures of every limit."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        texts, some = Path(scratch) / "texts.json", Path(scratch) / "some.json"
        texts.write_text(json.dumps(bench.texts), encoding="utf-8")
        some.write_text(json.dumps(bench.texts[:RUNTIME_TEXTS]), encoding="utf-8")
        figures |= bench.kept("limit-turns", sources("service", "models"), lambda: _by_turns(bench, texts))
        figures["runtimes"] = _runtimes(bench, some)
    null = _null_contender()
    figures["null_engine"] = bench.kept("limit-null-engine", null.subject, lambda: _null_engine(bench, null))
    figures["arithmetic"] = bench.kept("limit-arithmetic", sources("models"), lambda: _arithmetic(bench))
    figures["arithmetic"]["flops_per_text"] = (
        figures["arithmetic"]["flops_per_token"] * figures["engine"]["tokens_per_text"]
    )
    return figures


def _by_turns(bench: Workbench, texts: Path) -> dict[str, Any]:
    """The engine alone and the service, of the turn with the middle share of the first that comes through the second.

    How fast a machine is may change from minute to minute, by more than what is looked for.
    """
    turns = []
    with _warm(bench, heed(bench.environments)) as session:
        for _ in range(TURNS):
            http = _closed(bench, session)
            engine = _engine(bench, texts)
            share = http["64"]["requests_per_second"] / engine["texts_per_second"]
            turns.append({"share": share, "http": http, "engine": engine})
    turns.sort(key=lambda turn: turn["share"])
    return turns[TURNS // 2] | {"shares": [turn["share"] for turn in turns]}


def _engine(bench: Workbench, texts: Path) -> dict[str, Any]:
    asked = {"bundle": str(BUNDLE), "texts": str(texts), "seconds": bench.seconds(10)}
    told = _told([SERVE_PYTHON, "-m", "benchmarks.serving.limits.engine_alone"], asked)
    print(
        f"the engine alone: {told['texts_per_second']:.0f} texts/s together, {told['single_p50_ms']:.2f} ms for one",
        flush=True,
    )
    return told


def _runtimes(bench: Workbench, texts: Path) -> dict[str, float]:
    """The best texts a second of each runtime that can run the bundle."""
    best = {}
    for runtime in ("xla", "onnxruntime", "openvino"):
        if runtime != "xla" and not (BUNDLE / "model.onnx").is_file():
            continue
        try:
            told = bench.kept(f"limit-{runtime}", sources("models"), partial(_runtime, bench, texts, runtime))
        except RuntimeError as error:  # it cannot read the graph, or not on this machine: the others can be measured
            print(f"the graph in {runtime}: FAILED: {error}", flush=True)
            continue
        best[runtime] = max(rate for by_batch in told.values() for rate in by_batch.values())
        print(f"the graph in {runtime}: {best[runtime]:.0f} texts/s", flush=True)
    return best


def _runtime(bench: Workbench, texts: Path, runtime: str) -> dict[str, Any]:
    python = SERVE_PYTHON if runtime == "xla" else environment(LOCK, bench.environments / "runtimes") / "python"
    bundle = for_openvino(BUNDLE, texts.parent / "openvino") if runtime == "openvino" else BUNDLE
    cores = os.cpu_count() or 1
    told = {}
    for threads in sorted({1, cores}):
        asked = {
            "runtime": runtime,
            "bundle": str(bundle),
            "texts": str(texts),
            "seconds": bench.seconds(3),
            "threads": threads,
            "batches": BATCHES[1:] if runtime == "xla" else BATCHES,
        }
        told[f"{threads} threads"] = _told([python, "-m", "benchmarks.serving.limits.runtimes"], asked)
    return told


def for_openvino(bundle: Path, folder: Path) -> Path:
    """`folder` with the tokenizer and the graph of `bundle`, less what OpenVINO misreads in it.

    The converter leaves `Unsqueeze` nodes without an axis, which hand on their input. OpenVINO adds an axis there.
    """
    folder.mkdir()
    (folder / "tokenizer.json").symlink_to(bundle / "tokenizer.json")
    model = onnx.load(bundle / "model.onnx")
    empty = {tensor.name for tensor in model.graph.initializer if tensor.dims == [0]}
    for node in model.graph.node:
        if node.op_type == "Unsqueeze" and node.input[1] in empty:
            node.op_type = "Identity"
            del node.input[1]
    onnx.save(model, folder / "model.onnx")
    return folder


def _null_engine(bench: Workbench, contender: Contender) -> dict[str, Any]:
    with _warm(bench, contender) as session:
        return _closed(bench, session)


@contextmanager
def _warm(bench: Workbench, contender: Contender) -> Iterator[Session]:
    with contender.start() as service:
        session = Session(contender, service, bench.texts)
        session.warm_up(bench.seconds(4))
        yield session


def _closed(bench: Workbench, session: Session) -> dict[str, Any]:
    told = {"64": session.closed(64, bench.seconds(10)), "1": session.closed(1, bench.seconds(6))}
    for connections, figures in told.items():
        print(report_line(f"{session.contender.title}, {connections} connections", figures), flush=True)
    return told


def _null_contender() -> Contender:
    @contextmanager
    def start() -> Iterator[Running]:
        port = free_port()
        with _only_bundle() as models_dir:
            environment = {"HEED_MODELS_DIR": models_dir, "HEED_LOG_LEVEL": "warning", "HEED_PORT": str(port)}
            command: list[str | Path] = [SERVE_PYTHON, "-m", "benchmarks.serving.limits.null_engine"]
            with running(command, port, answers_get("/readyz"), environment) as service:
                yield service

    return heed(Path())._replace(name="null-engine", title="Heed, an engine that does nothing", start=start)


@contextmanager
def _only_bundle() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as models_dir:
        (Path(models_dir) / BUNDLE.name).symlink_to(BUNDLE)
        yield models_dir


def _arithmetic(bench: Workbench) -> dict[str, Any]:
    config = json.loads((BUNDLE / "bundle.json").read_text(encoding="utf-8"))["config"]
    peak = gemm_peak_flops(bench.seconds(4))
    print(f"a large matrix product: {peak / 1e9:.0f} GFLOP/s", flush=True)
    return {"flops_per_token": flops_per_token(config), "gemm_peak_flops": peak}


def _told(command: Sequence[str | Path], asked: dict[str, Any]) -> Any:
    """What a program prints as JSON in its last line.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    full = [str(part) for part in (*command, json.dumps(asked))]
    done = subprocess.run(full, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(full[:3])} ended with status {done.returncode}:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])
