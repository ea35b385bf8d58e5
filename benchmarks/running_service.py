"""The service in a process of its own, for as long as it is measured."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import httpx

LIMIT_SECONDS = 120.0


class RunningService(NamedTuple):
    """Where it answers, and how long it took from the start of its process until it was ready."""

    url: str
    seconds_until_ready: float


@contextmanager
def running_service(settings: Mapping[str, str] | None = None) -> Iterator[RunningService]:
    """Start the service on a free port with `settings` (`HEED_*`), wait until it is ready, and stop it in the end.

    Raises:
        RuntimeError: it ended by itself, or is not ready within `LIMIT_SECONDS`.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "serve"],
        env=os.environ | {"HEED_PORT": str(port)} | dict(settings or {}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_ready(process, url, started)
        yield RunningService(url, time.monotonic() - started)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, started: float) -> None:
    while time.monotonic() - started < LIMIT_SECONDS:
        if process.poll() is not None:
            raise RuntimeError(f"Expected the service to run. It ended with status {process.returncode}.")
        try:
            if httpx.get(f"{url}/readyz").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"Expected the service to be ready within {LIMIT_SECONDS:.0f} s. It is not.")
