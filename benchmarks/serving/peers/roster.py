"""The peers: how each is started, asked and read, and its variants."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def text_body(text: str) -> Any:
    """Return `{"text": ...}`."""
    return {"text": text}


def texts_body(text: str) -> Any:
    """Return a list of one text, as BentoML's batchable APIs take it."""
    return {"texts": [text]}


def tensor_body(text: str) -> Any:
    """Return a tensor of one text, as the Open Inference Protocol has it."""
    return {"inputs": [{"name": "texts", "shape": [1, 1], "datatype": "BYTES", "data": [text]}]}


def whole(document: Any) -> Any:
    """Return the document itself."""
    return document


def first(document: Any) -> Any:
    """Return the only element of a list."""
    return document[0]


def from_tensor(document: Any) -> Any:
    """Return the JSON document in a tensor."""
    return json.loads(document["outputs"][0]["data"][0])


@dataclass(frozen=True)
class Peer:
    """A way to serve the bundle.

    Attributes:
        name: name of its folder.
        title: its name in tables.
        command: a program of its environment and its arguments; `{port}` stands for the port.
        variants: settings to try, as its documentation advises, by name; the fastest at 64 connections represents it.
        path: path of the POST requests.
        ready: a path that answers with success once it is ready.
        batches: whether it batches concurrent requests.
        body: makes the document of a request from a text.
        answer: takes the fields from the document of a response.
    """

    name: str
    title: str
    command: tuple[str, ...]
    variants: Mapping[str, Mapping[str, str]]
    path: str = "/predict"
    ready: str = "/ready"
    batches: bool = True
    body: Callable[[str], Any] = field(default=text_body)
    answer: Callable[[Any], Any] = field(default=whole)


_ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}


def _settings(workers: int, max_batch: int = 32, wait_seconds: float = 0.005) -> dict[str, str]:
    settings = {"PEER_WORKERS": str(workers), "PEER_MAX_BATCH": str(max_batch), "PEER_WAIT_SECONDS": str(wait_seconds)}
    return settings | (_ONE_THREAD if workers > 1 else {})


# uvicorn takes its number of workers from WEB_CONCURRENCY.
_ONE_BY_ONE = {"1 worker": {"WEB_CONCURRENCY": "1"}, "2 workers": {"WEB_CONCURRENCY": "2"} | _ONE_THREAD}
_IN_BATCHES = {
    "1 worker, batches of 32": _settings(1),
    "1 worker, batches of 64": _settings(1, 64, 0.01),
    "2 workers, batches of 32": _settings(2),
}


def _uvicorn(name: str) -> tuple[str, ...]:
    app = f"benchmarks.serving.peers.{name}.server:app"
    return ("uvicorn", app, "--port", "{port}", "--log-level", "warning", "--no-access-log")


def _python(name: str, module: str = "server") -> tuple[str, ...]:
    return ("python", "-m", f"benchmarks.serving.peers.{name}.{module}", "{port}")


PEERS = (
    Peer(
        "fastapi_predict", "FastAPI, `model.predict`", _uvicorn("fastapi_predict"), variants=_ONE_BY_ONE, batches=False
    ),
    Peer(
        "fastapi_function", "FastAPI, `tf.function`", _uvicorn("fastapi_function"), variants=_ONE_BY_ONE, batches=False
    ),
    Peer("litserve", "LitServe", _python("litserve"), variants=_IN_BATCHES, ready="/health"),
    Peer(
        "bentoml",
        "BentoML",
        ("bentoml", "serve", "benchmarks.serving.peers.bentoml.server:Sentiment", "--port", "{port}", "--quiet"),
        variants=_IN_BATCHES,
        ready="/readyz",
        body=texts_body,
        answer=first,
    ),
    Peer(
        "mlserver",
        "MLServer",
        _python("mlserver", "start"),
        variants=_IN_BATCHES,
        path="/v2/models/sentiment/infer",
        ready="/v2/models/sentiment/ready",
        body=tensor_body,
        answer=from_tensor,
    ),
    Peer("ray_serve", "Ray Serve", _python("ray_serve"), variants=_IN_BATCHES, ready="/-/healthz"),
)
