"""A cheap HTTP/1.1 keep-alive connection that carries one request at a time."""

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

LOST = 0
"""Status of a request whose connection was lost before its answer."""

Answered = Callable[["Connection", int], None]
"""Receives the connection, which is free again, and the status or `LOST`."""


class Connection(asyncio.Protocol):
    """Write prepared bytes and read one answer, whose body is discarded.

    Args:
        answered: called once per `send`.
    """

    def __init__(self, answered: Answered) -> None:
        self.open = False
        self._answered = answered
        self._busy = False
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None

    def send(self, request: bytes) -> None:
        """Send a whole request, head and body.

        Raises:
            RuntimeError: a request is in flight, or the connection is closed.
        """
        if self._busy or not self.open or self._transport is None:
            raise RuntimeError("The connection is closed or busy.")
        self._busy = True
        self._transport.write(request)

    def close(self) -> None:
        """Close the connection; a request in flight counts as lost."""
        if self._transport is not None:
            self._transport.close()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's class does not inherit from it
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

    def on_message_complete(self) -> None:
        if not self._parser.should_keep_alive():
            self.open = False
            self.close()
        if self._busy:
            self._finish(self._parser.get_status_code())

    def _finish(self, status: int) -> None:
        self._busy = False
        self._answered(self, status)
