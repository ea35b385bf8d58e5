"""Run the service for a test on a real port: in a thread of this process, or in a process of its own."""

import faulthandler
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from fastapi import FastAPI

from service.http.app import create_app
from service.http.server import server_of
from service.settings import Settings

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class RunningService:
    """A service in a process of its own."""

    url: str
    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text()


@contextmanager
def running_service(models_dir: Path, log_file: Path, **settings: str) -> Iterator[RunningService]:
    """Run `python -m service serve` on a free port until it is ready, and stop it afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    given = {"MODELS_DIR": str(models_dir), "PORT": str(port), "BATCH_SIZES": "1,8", "TOKEN_BUCKETS": "16,64"}
    environment = os.environ | {
        f"HEED_{name}": value for name, value in (given | {"RELOAD_SECONDS": "0"} | settings).items()
    }
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", "serve"], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
    service = RunningService(f"http://127.0.0.1:{port}", process, log_file)
    try:
        _wait_until_ready(service)
        yield service
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def _wait_until_ready(service: RunningService) -> None:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and service.process.poll() is None:
        try:
            if all(httpx.get(f"{service.url}/{probe}").is_success for probe in ("readyz", "startupz")):
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"The service did not become ready. Its log:\n{service.log}")


class AppClient(httpx.Client):
    """An HTTP client of an app that runs in a thread of this process, with the app beside it."""

    def __init__(self, app: FastAPI, url: str) -> None:
        super().__init__(base_url=url, timeout=60)
        self.app = app


@contextmanager
def client_of(app: FastAPI) -> Iterator[AppClient]:
    """Run an app under the server that serves it in production, in a thread."""
    server = server_of(app)
    server.config.port = 0
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        with AppClient(app, f"http://127.0.0.1:{port}") as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(timeout=60)
        if thread.is_alive():
            faulthandler.dump_traceback()  # which shows what the server waits for
        assert not thread.is_alive()


@contextmanager
def ready_client_of(settings: Settings) -> Iterator[AppClient]:
    """Run the service with these settings, once all its models are loaded."""
    with client_of(create_app(settings)) as client:
        deadline = time.monotonic() + 600
        while any((answer := client.get(probe)).status_code != 200 for probe in ("/readyz", "/startupz")):
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.05)
        yield client
