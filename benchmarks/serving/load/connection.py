"""One HTTP/1.1 keep-alive connection that carries one request at a time, made to cost little."""

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

LOST = 0
"""Stands for the status of a request whose connection ended before its answer."""

Answered = Callable[["Connection", int, bytes | None], None]
"""Is told the connection, free again; the status, or `LOST`; and the body, where it was asked for."""


class Connection(asyncio.Protocol):
    """Writes prepared bytes and reads one answer; headers are left to the parser, bodies are dropped unless kept.

    Args:
        answered: called once for each `send`.
    """

    def __init__(self, answered: Answered) -> None:
        self.open = False
        self._answered = answered
        self._busy = False
        self._parts: list[bytes] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None

    def send(self, request: bytes, *, keep_body: bool = False) -> None:
        """Send a whole request, head and body.

        Raises:
            RuntimeError: the last one is not answered yet, or the connection is closed.
        """
        if self._busy or not self.open or self._transport is None:
            raise RuntimeError("Expected an open connection without a request under way. This one is closed or busy.")
        self._busy = True
        self._parts = [] if keep_body else None
        self._transport.write(request)

    def close(self) -> None:
        """Close the connection; a request under way counts as lost."""
        if self._transport is not None:
            self._transport.close()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by name
        self.open = True

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self._busy:
            self._finish(LOST)

    # httptools' callbacks

    def on_body(self, body: bytes) -> None:
        if self._parts is not None:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        if not self._parser.should_keep_alive():
            self.open = False
            self.close()
        if self._busy:
            self._finish(self._parser.get_status_code())

    def _finish(self, status: int) -> None:
        self._busy = False
        body = None if self._parts is None else b"".join(self._parts)
        self._answered(self, status, body)
