"""Request ids, log lines and counts around every request. Never a review's text."""

import asyncio
import logging
import random
import re
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from typing import BinaryIO, Literal, cast

import orjson
import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.headers import header_of
from service.http.metrics import Metrics
from service.http.responses import problem_response
from service.inference.errors import InternalError

REQUEST_ID = "X-Request-Id"
_REQUEST_ID = REQUEST_ID.lower().encode()
_REQUEST_ID_FORM = re.compile(r"[\x21-\x7e]{1,128}")
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_QUIET_ROUTES = frozenset({"/livez", "/readyz", "/startupz", "/metrics"})

log = structlog.get_logger("heed")


@dataclass(slots=True)
class RequestFacts:
    """What the log line of a request says beyond its path and status."""

    request_id: str
    route: str | None = None
    model: str | None = None
    texts: int = 0
    tokens: int = 0
    stages: dict[str, float] = field(default_factory=dict)
    """Seconds by stage: tokenize, queue, compute."""

    @property
    def server_timing(self) -> str:
        """The value of the `Server-Timing` header, in milliseconds."""
        return ", ".join(f"{stage};dur={1000 * seconds:.2f}" for stage, seconds in self.stages.items())


def request_id_of(asked: str) -> str:
    """The id that a client asked for, or one of ours where that is none."""
    return asked if _REQUEST_ID_FORM.fullmatch(asked) else f"{random.getrandbits(128):032x}"


def facts_of(request: Request) -> RequestFacts:
    """The facts of the request that is being answered, to be filled in."""
    facts: RequestFacts = request.scope["heed.facts"]
    return facts


class Observe:
    """ASGI middleware, the outermost: gives each request an id, a log line and its counts, and answers what broke."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics
        self._answered: list[tuple[Scope, RequestFacts, int, float]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        facts = RequestFacts(request_id_of(header_of(scope, _REQUEST_ID) or ""))
        scope["heed.facts"] = facts
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (_REQUEST_ID, facts.request_id.encode("ascii"))]
            await send(message)

        self.metrics.under_way += 1
        try:
            await self.app(scope, receive, send_with_id)
        except Exception as error:
            _log_fault(error, facts.request_id)
            if status:  # half an answer is out; the server can but close the connection
                raise
            await problem_response(InternalError(), scope)(scope, receive, send_with_id)
        finally:
            self.metrics.under_way -= 1
            self._answered.append((scope, facts, status, time.perf_counter() - started))
            if len(self._answered) == 1:
                asyncio.get_running_loop().call_soon(self._record_all)

    def _record_all(self) -> None:
        """Count and log what was answered in a turn of the event loop: one after the other that is done much sooner."""
        answered, self._answered = self._answered, []
        for each in answered:
            self._record(*each)

    def _record(self, scope: Scope, facts: RequestFacts, status: int, seconds: float) -> None:
        # The route's template and a closed set of methods: what clients make up must not become label values.
        unnamed = "static" if "endpoint" in scope else "unmatched"
        route = facts.route or str(getattr(scope.get("route"), "path", unnamed))
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self.metrics.count_request(route, method, status, seconds, facts.stages)
        tell = log.debug if route in _QUIET_ROUTES else log.info
        tell(
            "request",
            request_id=facts.request_id,
            method=method,
            route=route,
            status=status,
            milliseconds=round(1000 * seconds, 2),
            **({"model": facts.model, "texts": facts.texts, "tokens": facts.tokens} if facts.model else {}),
        )


def _log_fault(error: Exception, request_id: str) -> None:
    """Log where an unexpected exception came from, without its message: that may quote what the client sent."""
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    log.error("fault", request_id=request_id, exception=type(error).__qualname__, frames=frames)


class GatheredLines:
    """What a logger writes to: all lines that come in one turn of an event loop are written at once, when it ends.

    Writing is a call of the system, in which the event loop gives up the interpreter; for each request that would take
    longer than the line itself. What comes from another thread, or while no loop runs, is written at once.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._waiting: list[bytes] = []

    def write(self, line: bytes) -> int:
        """Take one line."""
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
        """Nothing: a logger flushes after each line."""

    def write_out(self) -> None:
        """Write what waits."""
        with self._lock:
            lines, self._waiting = self._waiting, []
            if lines:
                self._stream.write(b"".join(lines))
                self._stream.flush()


def configure_logging(level: Literal["debug", "info", "warning", "error"]) -> None:
    """Write every log line, the server's own included, to standard error: JSON, or colours where a person watches.

    Our own lines do not take the way through `logging`: there is one for each request, and it costs a tenth of that.
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
