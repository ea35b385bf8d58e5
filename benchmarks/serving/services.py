"""A server in a process of its own, for as long as it is measured."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

import httpx

from benchmarks.serving.processes import ProcessTree

ROOT = Path(__file__).parents[2]
SERVE_PYTHON = ROOT / ".venv-serve" / "bin" / "python"
BUNDLE = ROOT / "models" / "saved" / "default"
READY_SECONDS = 180.0
_STOP_SECONDS = 20.0
_SETTLED_SHARE = 0.05
_SETTLING_SECONDS = 180.0


class Running(NamedTuple):
    """A server that is ready: where it answers, its processes, and how long it took from their start."""

    url: str
    tree: ProcessTree
    seconds_until_ready: float


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    command: Sequence[str | Path], port: int, ready: Callable[[str], bool], environment: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Start `command`, which listens on `port`, wait until `ready(url)`, and stop all that it started in the end.

    Raises:
        RuntimeError: it is not ready within `READY_SECONDS`, or ended by itself; with the end of what it said.
    """
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile() as said:
        started = time.monotonic()
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=ROOT,
            env=os.environ | dict(environment or {}),
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        tree = ProcessTree(process.pid)
        try:
            while not ready(url):
                if process.poll() is not None or time.monotonic() - started > READY_SECONDS:
                    limit = f"within {READY_SECONDS:.0f} s"
                    raise RuntimeError(f"Expected {command[0]} to be ready {limit}. It is not. {_end(process, said)}")
                time.sleep(0.02)
            yield Running(url, tree, time.monotonic() - started)
            if process.poll() is not None:
                raise RuntimeError(f"Expected {command[0]} to run on. {_end(process, said)}")
        except OSError as error:  # what loads it got no connection
            raise RuntimeError(f"Expected {command[0]} to answer. {error}. {_end(process, said)}") from error
        finally:
            _stop(process, tree)


def _end(process: subprocess.Popen[bytes], said: IO[bytes]) -> str:
    """How it ended, if it did, and the last of what it said."""
    said.seek(max(0, said.seek(0, os.SEEK_END) - 4000))
    state = "It runs" if process.poll() is None else f"It ended with status {process.returncode}"
    return f"{state}, and said:\n{said.read().decode(errors='replace')}"


@contextmanager
def running_heed(
    python: Path = SERVE_PYTHON, bundle: Path | None = BUNDLE, settings: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Start the service with `settings` (`HEED_*`), in the environment that `python` belongs to.

    Args:
        bundle: the only one that it serves; None: all that are in models/saved.
    """
    port = free_port()
    environment = {"HEED_PORT": str(port), "HEED_LOG_LEVEL": "warning"}
    command: list[str | Path] = [python, "-m", "service", "serve"]
    with tempfile.TemporaryDirectory() as models_dir:
        if bundle is not None:
            shutil.copytree(bundle, Path(models_dir) / bundle.name)
            environment |= {"HEED_MODELS_DIR": models_dir, "HEED_DEFAULT_MODEL": bundle.name}
        with running(command, port, answers_get("/readyz"), environment | dict(settings or {})) as service:
            yield service


def answers_get(path: str) -> Callable[[str], bool]:
    """Whether a GET of `path` succeeds."""

    def ready(url: str) -> bool:
        try:
            return httpx.get(url + path, timeout=5.0).is_success
        except httpx.TransportError:
            return False

    return ready


def settle(tree: ProcessTree) -> None:
    """Wait until a server that nobody asks anything does nothing any more, such as compile in the background."""
    given_up = time.monotonic() + _SETTLING_SECONDS
    before, quiet = tree.usage().cpu_seconds, 0
    while quiet < 2 and time.monotonic() < given_up:
        time.sleep(1.0)
        now = tree.usage().cpu_seconds
        quiet = quiet + 1 if now - before < _SETTLED_SHARE else 0
        before = now


def _stop(process: subprocess.Popen[bytes], tree: ProcessTree) -> None:
    pids = tree.pids()
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pid in (pids | tree.pids()) - {process.pid}:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    given_up = time.monotonic() + _STOP_SECONDS
    while tree.pids() and time.monotonic() < given_up:
        time.sleep(0.02)
