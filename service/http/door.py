"""The door of a service that is full: a request is refused there before anything of it is parsed.

At several times the load that it can answer, reading all requests only to refuse most of them would take the event loop
from those that were let in, and its sockets would become a queue without bound.
"""

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any

import orjson
import structlog
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.http.observe import REQUEST_ID, request_id_of
from service.http.one_write import HeadHolder
from service.http.pipeline import WATCH_CLIENT
from service.http.predict import PREDICT_PATH
from service.inference.errors import PROBLEM_MEDIA_TYPE, Overloaded, problem_document
from service.inference.registry import Registry

_BEGINNING = f"POST {PREDICT_PATH} HTTP/1.1\r\n".encode()
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,10})[ \t]*(?=\r\n)")
_NAMED_ID = re.compile(rb"\r\n" + REQUEST_ID.lower().encode() + rb":[ \t]*([!-~]*)[ \t]*\r\n", re.IGNORECASE)
# What changes where a message ends, or what the client waits for, is the parser's business.
_NOT_FOR_THE_DOOR = (b"\r\ntransfer-encoding:", b"\r\nexpect:", b"\r\nconnection:", b"\r\nupgrade:")
_BYTES_A_TOKEN = 5  # about: of reviews, with their heads
_TELL_SECONDS = 1.0
_BODY = orjson.dumps(problem_document(Overloaded(1.0), instance=PREDICT_PATH))  # the same for all

log = structlog.get_logger(__name__)


def door_of(app: Starlette) -> type[HttpToolsProtocol]:
    """The protocol of the service's connections, for `uvicorn.Config(http=...)`.

    A whole `POST /predict` that comes in one piece, names no model and would find the default model's queue full, or as
    much on its way there already, gets its 429 at once: the same document as from the route, with the same headers. All
    else is uvicorn's.
    """
    keeper = _Doorkeeper(app)

    class Door(HttpToolsProtocol):
        between_messages = True
        let_in = 0  # bytes
        when_lost: Callable[[], None] | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            self.held = HeadHolder(transport)
            super().connection_made(self.held)  # type: ignore[arg-type]

        def data_received(self, data: bytes) -> None:
            idle = self.between_messages and not self.pipeline and (not self.cycle or self.cycle.response_complete)
            refusal = None
            # Who does not read what was written is left to uvicorn, which reads no more of it then.
            if idle and not self.flow.write_paused and data.startswith(_BEGINNING):
                refusal = keeper.refusal(data)
                if refusal is None:
                    self.let_in = keeper.let_in(len(data))
            if refusal is None:
                super().data_received(data)
                return
            self._unset_keepalive_if_required()
            head, body = refusal
            dated = b"".join(name + b": " + value + b"\r\n" for name, value in self.server_state.default_headers)
            self.transport.write(head + dated + b"\r\n" + body)
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

        def on_message_begin(self) -> None:
            self.between_messages = False
            super().on_message_begin()
            self.scope[WATCH_CLIENT] = self.watch_client  # type: ignore[literal-required]

        def on_message_complete(self) -> None:
            self.between_messages = True
            super().on_message_complete()

        def on_response_complete(self) -> None:
            self.let_in = keeper.let_out(self.let_in)
            self.held.release()
            super().on_response_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self.let_in = keeper.let_out(self.let_in)
            super().connection_lost(exc)
            if self.when_lost:
                self.when_lost()

        def watch_client(self, leave: Callable[[], None]) -> Callable[[], None]:
            self.when_lost = leave
            return self.watch_no_more

        def watch_no_more(self) -> None:
            self.when_lost = None

    return Door


class _Doorkeeper:
    """Knows whether the service is full, and counts whom it sent away."""

    def __init__(self, app: Starlette) -> None:
        self._state: Any = app.state
        self._bytes_inside = 0
        self._refused = 0
        self._told = time.monotonic()

    def let_in(self, size: int) -> int:
        """A request of so many bytes is on its way; what to give to `let_out` when it was answered."""
        self._bytes_inside += size
        return size

    def let_out(self, size: int) -> int:
        """It was answered, or its client left; 0, so that it is let out only once."""
        self._bytes_inside -= size
        return 0

    def refusal(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Head, without its empty line, and body of the answer to `data` if it is to be refused here."""
        registry: Registry = self._state.registry
        default = registry.served.get(self._state.settings.default_model)
        if default is None or self._state.draining:
            return None
        try:
            registry.admission.refuse_if_full(len(data) // _BYTES_A_TOKEN)
        except Overloaded as full:
            return self._answer(data, full) if _is_whole(data) else None
        return None

    def _answer(self, data: bytes, full: Overloaded) -> tuple[bytes, bytes]:
        self._count()
        named = _NAMED_ID.search(data[: data.index(b"\r\n\r\n") + 2])
        headers = {
            **full.headers,
            "Content-Length": str(len(_BODY)),
            "Content-Type": PROBLEM_MEDIA_TYPE,
            REQUEST_ID: request_id_of(named.group(1).decode("ascii") if named else ""),
        }
        lines = "".join(f"{name.lower()}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 429 Too Many Requests\r\n{lines}".encode("ascii"), _BODY

    def _count(self) -> None:
        self._state.metrics.count_refusal(PREDICT_PATH, "POST", 429)
        self._refused += 1
        now = time.monotonic()
        if now - self._told > _TELL_SECONDS:
            log.warning("requests refused at the door", count=self._refused)
            self._refused, self._told = 0, now


def _is_whole(data: bytes) -> bool:
    """Whether `data` is one request from its first byte to its last, for the default model, with nothing special."""
    end = data.find(b"\r\n\r\n")
    if end < 0 or b'"model"' in data:
        return False
    head = data[: end + 2].lower().replace(b"\r\nconnection: keep-alive\r\n", b"\r\n")
    lengths = _LENGTH.findall(head)
    return (
        len(lengths) == 1
        and len(data) == end + 4 + int(lengths[0])
        and not any(special in head for special in _NOT_FOR_THE_DOOR)
    )
