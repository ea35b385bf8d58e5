"""Logging: one JSON line per event on standard error. Never a review's text."""

import asyncio
import logging
import sys
import threading
from typing import BinaryIO, Literal, cast

import orjson
import structlog


class GatheredLines:
    """A stream for loggers that writes all lines of one turn of an event loop together, at its end.

    Each write is a system call, which takes longer than making the line. Lines from another thread, or while no loop
    runs, are written at once.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._waiting: list[bytes] = []

    def write(self, line: bytes) -> int:
        """Write one line, at the end of the turn."""
        with self._lock:
            self._waiting.append(line)
            first = len(self._waiting) == 1
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.write_out()
        else:
            if first:
                loop.call_soon(self.write_out)
        return len(line)

    def flush(self) -> None:
        """Do nothing: loggers flush after each line."""

    def write_out(self) -> None:
        """Write the lines that wait."""
        with self._lock:
            lines, self._waiting = self._waiting, []
            if lines:
                self._stream.write(b"".join(lines))
                self._stream.flush()


def configure_logging(level: Literal["debug", "info", "warning", "error"]) -> None:
    """Write every log line, uvicorn's included, to standard error: JSON, or colours on a terminal.

    Our own lines, one per request, bypass `logging`, which would take ten times as long.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    watched = sys.stderr.isatty()
    of_server = logging.StreamHandler(sys.stderr)
    of_server.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.dev.ConsoleRenderer() if watched else structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[of_server], force=True)
    structlog.configure(
        processors=[
            *shared,
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if watched else structlog.processors.JSONRenderer(orjson.dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr)
        if watched
        else structlog.BytesLoggerFactory(cast(BinaryIO, GatheredLines(sys.stderr.buffer))),
        cache_logger_on_first_use=True,
    )
