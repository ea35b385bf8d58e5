"""Runs the app under uvicorn: keeps connections within their limits, and drains before it stops."""

import asyncio
import logging
import os
import resource
import threading
import time
from math import isfinite
from types import FrameType
from typing import NoReturn, cast

import structlog
import uvicorn
from fastapi import FastAPI

from service.http.app import create_app
from service.http.observe import configure_logging
from service.http.protocol import LimitedProtocol
from service.inference.loading import prepare_process
from service.settings import Settings

MAX_UNSENT_BYTES = 16 * 2**20
"""Of answers that clients are slow to read, all connections together; beyond it the slowest clients are dropped."""

_CLOSING_SECONDS = 1.5
"""From the end of draining: time to close connections and models before the process ends regardless."""

_OPEN_SECONDS = 0.5
"""The port stays open at least this long after the signal, so that requests just sent are answered and not reset."""

log = structlog.get_logger("heed")


class DrainingServer(uvicorn.Server):
    """Drains before it stops, and enforces the deadlines of connections.

    From the first signal on, new predictions and `/readyz` get 503 while the requests accepted before are answered. The
    process ends when the last of them is answered, or after `drain_seconds`. A second signal ends the draining.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app
        self._drain_seconds = app.state.settings.drain_seconds
        self._max_connections = app.state.settings.max_connections
        self._open_until = 0.0
        self._drain_until: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain. uvicorn would close the port at once, so that no probe could see the draining."""
        if self._drain_until is not None:
            super().handle_exit(sig, frame)
            return
        self._open_until = time.monotonic() + _OPEN_SECONDS
        self._drain_until = time.monotonic() + self._drain_seconds
        self._app.state.draining = True
        last_resort = threading.Timer(self._drain_seconds + _CLOSING_SECONDS, _end_regardless)
        last_resort.daemon = True
        last_resort.start()

    async def on_tick(self, counter: int) -> bool:
        """Return whether to stop now; uvicorn asks ten times a second."""
        self._enforce_deadlines()
        if self._drain_until is not None:
            now = time.monotonic()
            drained = not self.server_state.tasks and now > self._open_until
            self.should_exit = self.should_exit or drained or now > self._drain_until
        return await super().on_tick(counter)

    def _enforce_deadlines(self) -> None:
        now = asyncio.get_running_loop().time()
        connections = cast(list[LimitedProtocol], list(self.server_state.connections))
        over = max(0, len(connections) - self._max_connections)
        waiting = [each for each in connections if over and isfinite(each.waiting_since)]  # the others get an answer
        for connection in sorted(waiting, key=lambda each: each.waiting_since)[:over]:
            connection.transport.abort()
        unsent = {connection: connection.enforce_deadlines(now) for connection in connections}
        excess = sum(unsent.values()) - MAX_UNSENT_BYTES
        if excess > 0:
            for connection in sorted(connections, key=lambda each: each.unsent_since):
                if excess <= 0 or now - connection.unsent_since < 1:
                    break
                connection.transport.abort()
                excess -= unsent[connection]


def server_of(app: FastAPI) -> DrainingServer:
    """Return the server of an app, with the address and the limits in its settings."""
    settings: Settings = app.state.settings
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=LimitedProtocol,
        loop="asyncio",  # uvloop accepts one connection a turn: under overload others wait for seconds
        ws="none",
        log_config=None,
        access_log=False,  # our own log line holds no query, and so no review
        proxy_headers=False,  # nothing here asks who the client is
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    return DrainingServer(config, app)


def serve(settings: Settings) -> None:
    """Serve until a signal comes."""
    configure_logging(settings.log_level)
    prepare_process(settings)
    _raise_file_limit(settings.max_connections)
    if not settings.api_keys and settings.host not in ("127.0.0.1", "localhost", "::1"):
        log.warning("open without keys to whoever reaches this address; HEED_API_KEYS sets them", host=settings.host)
    server = server_of(create_app(settings))
    server.run()
    _end(0 if server.started else 1)


def _raise_file_limit(connections: int) -> None:
    """Let the process hold as many connections as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < connections + 100:
        log.warning("fewer file descriptors than connections; lower HEED_MAX_CONNECTIONS", limit=hard)


def _end_regardless() -> None:
    """End although something still runs: whoever sent the signal has a time limit too."""
    log.error("stopped before everything was closed")
    _end(1)


def _end(status: int) -> NoReturn:
    """End the process now: Python would wait for threads, such as one that still compiles a model."""
    logging.shutdown()
    os._exit(status)
