"""The bundle's graph in another runtime, over the same texts in the order of their lengths. Prints JSON.

    python -m benchmarks.serving.limits.runtimes '{"runtime": "onnxruntime", "texts": "texts.json", "seconds": 5, ...}'

Each runtime is given several batch sizes, and either all cores for one batch at a time or one core for each of as many
batches; the best of them counts. XLA takes a few padded lengths, the others the longest text's of each batch.
"""

import json
import os
import sys
import time
from bisect import bisect_left
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from models.tokenizer import PAD_ID, Tokenizer

LENGTHS = (64, 128, 192, 256, 384, 512, 768, 1024)
Forward = Callable[[np.ndarray], Any]


def xla(bundle: Path, threads: int) -> Forward:
    """The Keras model through `tf.function(jit_compile=True)`."""
    import tensorflow as tf

    from models.bundle.store import load_bundle

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    model = load_bundle(bundle).model
    function = tf.function(lambda ids: model(ids, training=False), jit_compile=True, autograph=False)
    return lambda ids: {name: output.numpy() for name, output in function(tf.constant(ids)).items()}


def onnxruntime(bundle: Path, threads: int) -> Forward:
    """The bundle's model.onnx in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(bundle / "model.onnx", options, providers=["CPUExecutionProvider"])
    [ids_input] = session.get_inputs()
    return lambda ids: session.run(None, {ids_input.name: ids})


def openvino(bundle: Path, threads: int) -> Forward:
    """The bundle's model.onnx in OpenVINO; each thread has a request of its own.

    OpenVINO's LSTM takes no notice of the texts' lengths (2026.4): answers for padded texts are off, the time counts.
    """
    import threading

    import openvino

    core = openvino.Core()
    options = {
        "INFERENCE_NUM_THREADS": os.cpu_count() or 1,
        "NUM_STREAMS": (os.cpu_count() or 1) // threads,
        "INFERENCE_PRECISION_HINT": "f32",  # of itself it computes in bfloat16 where the processor can
    }
    model = core.compile_model(bundle / "model.onnx", "CPU", {name: str(value) for name, value in options.items()})
    local = threading.local()

    def forward(ids: np.ndarray) -> Any:
        if not hasattr(local, "request"):
            local.request = model.create_infer_request()
        return [np.array(output) for output in local.request.infer([ids]).values()]

    return forward


RUNTIMES = {"xla": xla, "onnxruntime": onnxruntime, "openvino": openvino}


def batches(ids: list[np.ndarray], size: int, lengths: tuple[int, ...] | None) -> list[np.ndarray]:
    """ids int32[size, tokens] by rising length; the last one is filled with padding alone."""
    ordered = sorted(ids, key=len)
    made = []
    for first in range(0, len(ordered), size):
        texts = ordered[first : first + size]
        longest = len(texts[-1])
        width = longest if lengths is None else lengths[bisect_left(lengths, longest)]
        padded = np.full((size, width), PAD_ID, np.int32)
        for row, text in enumerate(texts):
            padded[row, : len(text)] = text
        made.append(padded)
    return made


def texts_per_second(forward: Forward, made: list[np.ndarray], texts: int, workers: int, seconds: float) -> float:
    """Texts a second over whole rounds of all batches, `workers` of them under way at once."""
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(forward, made))  # compiles, allocates
        started, done = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            list(pool.map(forward, reversed(made)))
            done += texts
        return done / (time.perf_counter() - started)


def main() -> None:
    """Print the texts a second of each batch size."""
    asked = json.loads(sys.argv[1])
    bundle = Path(asked["bundle"])
    tokenizer = Tokenizer.from_json((bundle / "tokenizer.json").read_text(encoding="utf-8"))
    texts = json.loads(Path(asked["texts"]).read_text(encoding="utf-8"))
    ids = [tokenizer.encode(text, LENGTHS[-1]).ids for text in texts]
    forward = RUNTIMES[asked["runtime"]](bundle, asked["threads"])
    workers = (os.cpu_count() or 1) // asked["threads"]
    lengths = LENGTHS if asked["runtime"] == "xla" else None
    told = {
        str(size): texts_per_second(forward, batches(ids, size, lengths), len(ids), workers, asked["seconds"])
        for size in asked["batches"]
    }
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
