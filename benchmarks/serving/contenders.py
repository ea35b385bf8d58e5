"""The servers that are measured: how each is installed, started, asked and read."""

import hashlib
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.serving.load.requests import heed_body
from benchmarks.serving.peers.roster import FOLDER, Peer
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

ENGINES = ("keras", "onnx")


class Contender(NamedTuple):
    """A server that can be started.

    Attributes:
        name: of its records; unique.
        title: its name in tables.
        start: starts it for as long as the context lasts.
        path: path of its POST requests.
        body: makes the document of a request from a text.
        answer: takes the fields that all servers share from the document of a response.
        batches: whether it batches concurrent requests.
        subject: a hash of all that its figures depend on.
    """

    name: str
    title: str
    start: Callable[[], AbstractContextManager[Running]]
    path: str
    body: Callable[[str], Any]
    answer: Callable[[Any], Any]
    batches: bool
    subject: str


def heed(environments: Path, engine: str = "keras", *, kernels: bool = True) -> Contender:
    """Return the service of this checkout, on one of `ENGINES`, with or without its kernels in C."""
    settings = {"HEED_ENGINE": engine, "HEED_NATIVE": str(kernels).lower()}

    def start() -> AbstractContextManager[Running]:
        python = SERVE_PYTHON
        if engine == "onnx":
            python = install(ROOT / "requirements" / "onnx.txt", environments / "heed_onnx") / "python"
        return running_heed(python, BUNDLE, settings)

    return Contender(
        name=f"heed-{engine}{'' if kernels else '-no-kernels'}",
        title=f"Heed{', ONNX Runtime' if engine == 'onnx' else ''}{'' if kernels else ', no kernels'}",
        start=start,
        path="/predict",
        body=heed_body,
        answer=lambda document: document["predictions"][0],
        batches=True,
        subject=f"{sources('service', 'models')} {settings}",
    )


def of_peer(peer: Peer, variant: str, environments: Path) -> Contender:
    """Return a peer in one of its variants."""
    return Contender(
        name=peer.name,
        title=peer.title,
        start=partial(_running_peer, peer, variant, environments),
        path=peer.path,
        body=peer.body,
        answer=peer.answer,
        batches=peer.batches,
        subject=f"{variant} {sources('benchmarks/serving/peers', 'models')}",
    )


@contextmanager
def _running_peer(peer: Peer, variant: str, environments: Path) -> Iterator[Running]:
    port = free_port()
    programs = install(FOLDER / peer.name / "requirements.in", environments / peer.name)
    program, *arguments = (part.format(port=port) for part in peer.command)
    settings = {
        "PYTHONPATH": str(ROOT),
        "RAY_USAGE_STATS_ENABLED": "0",
        "BENTOML_DO_NOT_TRACK": "True",
        **peer.variants[variant],
    }
    with running([programs / program, *arguments], port, answers_get(peer.ready), settings) as service:
        yield service


def install(requirements: Path, home: Path) -> Path:
    """Return the folder of programs of the virtual environment `home`, made anew if its requirements have changed.

    Raises:
        CalledProcessError: pip could not install it; its output says why.
    """
    content = requirements.read_text() + (FOLDER / "requirements.in").read_text()
    digest = hashlib.sha256(content.encode()).hexdigest()
    home = home.resolve()
    stamp, programs = home / "installed.txt", home / "bin"
    if not stamp.is_file() or stamp.read_text() != digest:
        print(f"installing {requirements} to {home}, once", file=sys.stderr, flush=True)
        venv.create(home, clear=True, with_pip=True, symlinks=True)
        pip = [str(programs / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-input"]
        # Compile byte code now: with PYTHONDONTWRITEBYTECODE set, every start would compile TensorFlow again.
        subprocess.run([*pip, "--compile", "-r", str(requirements)], check=True)
        stamp.write_text(digest)
    return programs


@cache
def sources(*folders: str) -> str:
    """Return a short hash of the code and requirements in `folders` and of the bundle's card."""
    digest = hashlib.sha256((BUNDLE / "bundle.json").read_bytes())
    for folder in folders:
        for file in sorted(path for path in (ROOT / folder).rglob("*") if path.suffix in {".py", ".c", ".h", ".in"}):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
