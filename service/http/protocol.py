"""One connection: uvicorn's protocol with limits on what it may hold and how long it may take.

uvicorn bounds neither the head of a request nor the time that it takes, reads on from clients that do not read their
answers, and loses the body of a request that offers an upgrade. `LimitedProtocol` mends that and nothing else.
"""

import asyncio
from collections.abc import Sized
from typing import Any, cast

import httptools
import orjson
import structlog
import uvicorn
from fastapi import FastAPI
from starlette.types import Scope
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.http.middleware import REFUSAL, REQUEST_ID_HEADER, LoadShedding, header_of, request_id_of
from service.http.problems import (
    PROBLEM_MEDIA_TYPE,
    HeadTooLarge,
    HttpError,
    MalformedRequest,
    RequestTimeout,
    headers_of,
    problem_document,
    status_of,
)
from service.inference.errors import HeedError, Overloaded
from service.settings import Settings

MAX_HEAD_BYTES, MAX_HEADERS = 65_536, 256
"""Of a request's head, and of its trailers and chunk sizes together."""

_PIECE = 4096
"""Bytes that are parsed at a time: what one piece holds is the most that is parsed ahead of the answers."""

_CHUNK_FRAME = 16
"""Bytes around the data of a chunk that are not counted against the limit."""

_LINGER_SECONDS = 1.0
"""Time for a client to read why its connection is closed. Closing at once would reset it while data comes in."""

log = structlog.get_logger("heed")


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's protocol of a connection, with limits on memory and time.

    - A head, or trailers, over 64 KiB is answered with 431.
    - Nothing more is read or parsed while a pipelined request waits for its turn.
    - Bytes that are no HTTP, and heads and bodies that take too long, get a problem document where one can be sent.
    - Trailers are no headers, and an upgrade that is offered is ignored.
    """

    def __init__(self, config: uvicorn.Config, *arguments: Any, **named: Any) -> None:
        super().__init__(config, *arguments, **named)
        state = cast(FastAPI, config.app).state
        self._settings: Settings = state.settings
        self._metrics = state.metrics
        self._load_shedding: LoadShedding = state.load_shedding
        self._unparsed = memoryview(b"")
        self._uncounted = 0  # bytes since the last head or message that are no body
        self._part: str | None = None  # of a request: the head or the body, where one is incomplete
        self._since = self.loop.time()  # the start of this part, or of being idle
        self._unsent_since: float | None = None
        self._refused = False
        self._abort_at: float | None = None
        self._upgrade_offered = False
        self._replaying = False
        self._parsing = False

    # Reading

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a new connection."""
        super().connection_made(transport)
        self.flow = _PatientFlow(transport, self.pipeline)

    def data_received(self, data: bytes) -> None:
        """Parse what comes, as far as it is this connection's turn."""
        if not self._refused:
            self._unparsed = memoryview(bytes(self._unparsed) + data if self._unparsed else data)
            self._parse()

    def _parse(self) -> None:
        if self._parsing:  # an answer was complete before its request was
            return
        self._parsing = True
        if self._unparsed:
            self._unset_keepalive_if_required()
        while self._unparsed and not self.pipeline and not self._refused and not self.transport.is_closing():
            piece, self._unparsed = self._unparsed[:_PIECE], self._unparsed[_PIECE:]
            self._uncounted += len(piece)
            try:
                self._feed(piece)
            except httptools.HttpParserError as error:
                self._refuse(error.__context__ if isinstance(error.__context__, HttpError) else MalformedRequest())
            if self._uncounted > MAX_HEAD_BYTES:
                self._refuse(HeadTooLarge(MAX_HEAD_BYTES, MAX_HEADERS))
        self._parsing = False

    def _feed(self, data: memoryview) -> None:
        """Parse `data`. httptools stops after a head that offers an upgrade; a new parser then reads on behind it."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            framing = [each for each in self.headers if each[0] in (b"content-length", b"transfer-encoding")]
            head = b"".join(b"%b: %b\r\n" % header for header in framing)
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self._upgrade_offered, self._replaying = False, True
            self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % head)
            self._replaying = False
            self._feed(data[offer.args[0] :])

    def on_message_begin(self) -> None:
        """Begin a request."""
        if not self._replaying:
            super().on_message_begin()
            self._start("head")

    def on_url(self, url: bytes) -> None:
        """Take a part of its address."""
        if not self._replaying:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header. Trailers come after the head, when the request is being answered; they are ignored."""
        if self._part == "head" and not self._replaying:
            super().on_header(name, value)
            if len(self.headers) > MAX_HEADERS:
                raise HeadTooLarge(MAX_HEAD_BYTES, MAX_HEADERS)

    def on_headers_complete(self) -> None:
        """Begin to answer the request, or queue it behind those before it."""
        if not self._replaying:
            self._upgrade_offered = self.parser.should_upgrade()
            self._uncounted = 0
            super().on_headers_complete()
            self._start("body")

    def on_body(self, body: bytes) -> None:
        """Take a part of its body."""
        self._uncounted = max(0, self._uncounted - len(body) - _CHUNK_FRAME)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Begin to wait for the next request."""
        if not self._upgrade_offered:
            self._uncounted = 0
            self._start(None)
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with what the client sent meanwhile."""
        super().on_response_complete()
        if self._part is None:
            self._start(None)
        self._parse()

    def _should_upgrade(self) -> bool:
        return False

    # Refusing

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Answer a request: by the app, unless its head is enough to refuse it."""
        scope = cast(Scope, cycle.scope)
        try:
            answer: Any = self._load_shedding.admit(scope)
        except Overloaded as error:
            cycle.response_started = cycle.response_complete = True  # so the body is skipped
            request_id = request_id_of(header_of(scope, REQUEST_ID_HEADER))
            self.transport.write(
                self._answer(error, self._load_shedding.document, request_id, close=not cycle.keep_alive)
            )
            if not cycle.keep_alive:
                self.transport.close()
            cycle.on_response()
            cycle.on_response = _nothing  # it would keep a closed connection until the next garbage collection
        else:
            super()._start_asgi_task(cycle, answer)

    def enforce_deadlines(self, now: float) -> int:
        """End what takes too long; called ten times a second. Returns the bytes that the client has not taken yet."""
        unsent = self.transport.get_write_buffer_size()
        self._unsent_since = (self._unsent_since or now) if unsent else None
        waited = now - self._since
        if self._unsent_since and now - self._unsent_since > self._settings.write_seconds:
            self.transport.abort()
        elif self._abort_at is not None:
            if now > self._abort_at:
                self.transport.abort()
        elif self.flow.read_paused or self._refused or not self._incomplete_or_idle:
            self._since = now  # the client waits for us
        elif self._part == "head" and waited > self._settings.head_seconds:
            self._refuse(RequestTimeout("head", self._settings.head_seconds))
        elif self._part == "body" and waited > self._settings.body_seconds:
            self._refuse(RequestTimeout("body", self._settings.body_seconds))
        elif self._part is None and waited > self._settings.head_seconds:
            self.transport.close()
        return unsent

    @property
    def unsent_since(self) -> float:
        """When the client began to be late with taking its answer; infinite if it is not."""
        return self._unsent_since or float("inf")

    @property
    def waiting_since(self) -> float:
        """When the client began to owe us a request; infinite while we owe it an answer."""
        return self._since if self._incomplete_or_idle else float("inf")

    @property
    def _incomplete_or_idle(self) -> bool:
        """Whether there is no whole request to answer."""
        return self._part is not None or self.cycle is None or self.cycle.response_complete

    def _start(self, part: str | None) -> None:
        self._part, self._since = part, self.loop.time()

    def _refuse(self, error: HttpError) -> None:
        """Read no more, and close the connection: with a problem document if no other answer is in its way."""
        if self._refused or self.transport.is_closing():
            return
        self._refused, self._unparsed = True, memoryview(b"")
        unanswered = self.cycle is not None and not self.cycle.response_complete
        if self._part != "body":
            if unanswered:
                self.cycle.keep_alive = False  # the requests before this one are still answered
                return
            self._metrics.count_answer("unparsed", "other", status_of(error).code)
        elif unanswered and not self.pipeline and not self.cycle.response_started:
            self.cycle.scope[REFUSAL] = error  # type: ignore[literal-required]
            self.cycle.disconnected = (
                True  # ends the app's reading; it counts the refusal, and what it sends is dropped
            )
            self.cycle.message_event.set()
        else:
            self.transport.close()
            return
        request_id, status, problem = request_id_of(None), status_of(error).code, type(error).__name__
        log.info("request refused", request_id=request_id, status=status, problem=problem)
        document = orjson.dumps(problem_document(error, "/"))
        self.transport.write(self._answer(error, document, request_id, close=True))
        self.transport.write_eof()
        self._abort_at = self.loop.time() + _LINGER_SECONDS

    def _answer(self, error: HeedError, document: bytes, request_id: str, *, close: bool) -> bytes:
        """Return a whole answer: the head for an error, and its problem document."""
        headers = [
            *self.server_state.default_headers,
            (b"content-type", PROBLEM_MEDIA_TYPE.encode()),
            (b"content-length", b"%d" % len(document)),
            (REQUEST_ID_HEADER, request_id.encode()),
            *((name.lower().encode(), value.encode()) for name, value in headers_of(error).items()),
            *([(b"connection", b"close")] if close else []),
        ]
        head = b"".join(b"%b: %b\r\n" % header for header in headers)
        return STATUS_LINE[status_of(error).code] + head + b"\r\n" + document


def _nothing() -> None:
    pass


class _PatientFlow(FlowControl):
    """Does not read on while pipelined requests wait: uvicorn would, each time that an app asks for a body."""

    def __init__(self, transport: asyncio.Transport, pipeline: Sized) -> None:
        super().__init__(transport)
        self._pipeline = pipeline

    def resume_reading(self) -> None:
        """Read on, unless pipelined requests wait."""
        if not self._pipeline:
            super().resume_reading()
