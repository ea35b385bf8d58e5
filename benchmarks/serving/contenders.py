"""What is measured, all in one form: how it is started, asked and read."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.serving.environments import environment
from benchmarks.serving.load.requests import heed_body
from benchmarks.serving.peers.roster import FOLDER, PEERS, Peer
from benchmarks.serving.services import (
    BUNDLE,
    ROOT,
    SERVE_PYTHON,
    Running,
    answers_get,
    free_port,
    running,
    running_heed,
)

ONNX_LOCK = ROOT / "requirements" / "onnx.txt"


class Contender(NamedTuple):
    """One server that can be started.

    Attributes:
        name: of its records; unique.
        title: what it is called in tables.
        start: starts it, for as long as the context lasts.
        path: what is posted to.
        body: a text -> the request's document.
        answer: the answer's document -> the fields that all have in common.
        batches: whether it makes batches of several requests.
        subject: all that its figures depend on, as a hash; records of another one are not used.
    """

    name: str
    title: str
    start: Callable[[], AbstractContextManager[Running]]
    path: str
    body: Callable[[str], Any]
    answer: Callable[[Any], Any]
    batches: bool
    subject: str


def heed(environments: Path, engine: str = "keras", settings: Mapping[str, str] | None = None) -> Contender:
    """The service of this checkout, with the bundle that the peers serve too."""
    chosen = dict(settings or {})
    title = "Heed"
    if engine == "onnx":
        chosen["HEED_ENGINE"], title = engine, "Heed, ONNX Runtime"

    def start() -> AbstractContextManager[Running]:
        python = SERVE_PYTHON
        if engine == "onnx":
            python = environment(ONNX_LOCK, environments / "heed_onnx") / "python"
        return running_heed(python, BUNDLE, chosen)

    name = "heed" if engine == "keras" else f"heed-{engine}"
    subject = sources("service", "models") + str(sorted(chosen.items()))
    return Contender(name, title, start, "/predict", heed_body, _first_prediction, True, subject)


def engines() -> tuple[str, ...]:
    """The engines that this checkout can serve with."""
    return ("keras", "onnx")


def of_peer(peer: Peer, variant: str, environments: Path) -> Contender:
    """A peer with one of its variants."""
    lock = (FOLDER / peer.name / "requirements.txt").read_bytes()
    subject = f"{variant} {sources('benchmarks/serving/peers', 'models')} {hashlib.sha256(lock).hexdigest()[:12]}"
    return Contender(
        name=f"{peer.name}",
        title=peer.title,
        start=partial(_running_peer, peer, variant, environments),
        path=peer.path,
        body=peer.body,
        answer=peer.answer,
        batches=peer.batches,
        subject=subject,
    )


@contextmanager
def _running_peer(peer: Peer, variant: str, environments: Path) -> Iterator[Running]:
    port = free_port()
    programs = environment(FOLDER / peer.name / "requirements.txt", environments / peer.name)
    program, *arguments = (part.format(port=port) for part in peer.command)
    settings = {
        "PYTHONPATH": str(ROOT),
        "RAY_USAGE_STATS_ENABLED": "0",
        "BENTOML_DO_NOT_TRACK": "True",
        **peer.variants[variant],
    }
    with running([programs / program, *arguments], port, answers_get(peer.ready), settings) as service:
        yield service


@cache
def sources(*folders: str) -> str:
    """A short hash of the Python and C files in `folders` and of the bundle's card."""
    digest = hashlib.sha256((BUNDLE / "bundle.json").read_bytes())
    for folder in folders:
        for file in sorted(path for path in (ROOT / folder).rglob("*") if path.suffix in {".py", ".c", ".h"}):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _first_prediction(document: Any) -> Any:
    return document["predictions"][0]


def peers_by_name() -> dict[str, Peer]:
    """Every peer."""
    return {peer.name: peer for peer in PEERS}
