"""Runs the app under uvicorn: one process, and an orderly end on SIGTERM."""

import logging
import os
import threading
import time
from types import FrameType
from typing import NoReturn

import structlog
import uvicorn
from fastapi import FastAPI

from service.http.app import create_app, past_the_framework
from service.http.door import door_of
from service.http.observe import configure_logging
from service.inference.loading import prepare_process
from service.settings import Settings

_CLOSING_SECONDS = 1.5
"""From the end of draining: time to close connections and models before the process ends regardless."""

_LINGER_SECONDS = 0.5
"""The port stays open this long after the signal at least: what was sent just before it gets an answer, no reset."""

log = structlog.get_logger("heed")


class DrainingServer(uvicorn.Server):
    """Drains before it stops.

    From the first signal on, new predictions and `/readyz` get 503 while the requests that were accepted before are
    answered. The process ends when the last of them is and nothing more can be under way, or after `drain_seconds`.
    A second signal ends the draining.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, drain_seconds: float) -> None:
        super().__init__(config)
        self._app = app
        self._drain_seconds = drain_seconds
        self._linger_until = 0.0
        self._drain_until: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain. uvicorn's own handler closes the port at once, so that a probe could not see the draining."""
        if self._drain_until is not None:
            super().handle_exit(sig, frame)
            return
        self._linger_until = time.monotonic() + _LINGER_SECONDS
        self._drain_until = time.monotonic() + self._drain_seconds
        self._app.state.draining = True
        last_resort = threading.Timer(self._drain_seconds + _CLOSING_SECONDS, _end_regardless)
        last_resort.daemon = True
        last_resort.start()

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop now; uvicorn asks ten times a second."""
        if self._drain_until is not None:
            now = time.monotonic()
            drained = not self.server_state.tasks and now > self._linger_until
            self.should_exit = self.should_exit or drained or now > self._drain_until
        return await super().on_tick(counter)


def serve(settings: Settings) -> None:
    """Serve until a signal comes. Review texts are never logged: there is no access log but our own."""
    configure_logging(settings.log_level)
    prepare_process(settings)
    app = create_app(settings)
    config = uvicorn.Config(
        past_the_framework(app),
        host=settings.host,
        port=settings.port,
        http=door_of(app),
        log_config=None,
        access_log=False,
        proxy_headers=False,  # nothing here asks who the client is
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = DrainingServer(config, app, settings.drain_seconds)
    server.run()
    _end(0 if server.started else 1)


def _end_regardless() -> None:
    """End although something still runs: whoever sent the signal has a time limit too."""
    log.error("stopped before everything was closed")
    _end(1)


def _end(status: int) -> NoReturn:
    """End the process now: Python would wait for threads, and so for a model that is being compiled for nobody."""
    logging.shutdown()
    os._exit(status)
