"""Start a server in its own process, and stop it."""

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
    """A server that is ready: its URL, its processes, and the seconds from its start until it was ready."""

    url: str
    tree: ProcessTree
    seconds_until_ready: float


def free_port() -> int:
    """Return a free port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    command: Sequence[str | Path], port: int, ready: Callable[[str], bool], environment: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Start `command`, which listens on `port`, wait until `ready(url)`, and stop it with all its descendants.

    Raises:
        RuntimeError: it is not ready within `READY_SECONDS`, or has ended; with the end of its output.
    """
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile() as output:
        started = time.monotonic()
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=ROOT,
            env=os.environ | dict(environment or {}),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        tree = ProcessTree(process.pid)
        try:
            while not ready(url):
                if process.poll() is not None or time.monotonic() - started > READY_SECONDS:
                    raise RuntimeError(
                        f"{command[0]} did not become ready in {READY_SECONDS:.0f} s. {_end(process, output)}"
                    )
                time.sleep(0.02)
            yield Running(url, tree, time.monotonic() - started)
            if process.poll() is not None:
                raise RuntimeError(f"{command[0]} stopped by itself. {_end(process, output)}")
        except OSError as error:  # the load generator got no connection
            raise RuntimeError(f"{command[0]} does not answer: {error}. {_end(process, output)}") from error
        finally:
            _stop(process, tree)


def _end(process: subprocess.Popen[bytes], output: IO[bytes]) -> str:
    """Describe whether it runs, and the end of its output."""
    output.seek(max(0, output.seek(0, os.SEEK_END) - 4000))
    state = "It runs" if process.poll() is None else f"It ended with status {process.returncode}"
    return f"{state}, with output:\n{output.read().decode(errors='replace')}"


@contextmanager
def running_heed(
    python: Path = SERVE_PYTHON, bundle: Path = BUNDLE, settings: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Start the service with `settings` (`HEED_*`), in the environment of `python`.

    Args:
        bundle: the only bundle to serve.
    """
    port = free_port()
    environment = {"HEED_PORT": str(port), "HEED_LOG_LEVEL": "warning"}
    command: list[str | Path] = [python, "-m", "service", "serve"]
    with tempfile.TemporaryDirectory() as models_dir:
        shutil.copytree(bundle, Path(models_dir) / bundle.name)
        environment |= {"HEED_MODELS_DIR": models_dir, "HEED_DEFAULT_MODEL": bundle.name}
        with running(command, port, answers_get("/readyz"), environment | dict(settings or {})) as service:
            yield service


def answers_get(path: str) -> Callable[[str], bool]:
    """Return a function that tells whether a GET of `path` succeeds."""

    def ready(url: str) -> bool:
        try:
            return httpx.get(url + path, timeout=5.0).is_success
        except httpx.TransportError:
            return False

    return ready


def settle(tree: ProcessTree) -> None:
    """Wait until an idle server has finished its work in the background, such as compiling."""
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
