"""Problem documents (RFC 9457), the errors of HTTP itself, and the status of every error.

    HeedError                    raised by inference, except for HttpError
    ├── HttpError                the request is at fault, or the service itself
    │   ├── MalformedRequest     400  the bytes are not HTTP/1.1
    │   ├── MalformedBody        400  the body is not JSON text
    │   ├── Unauthorised         401  no API key, or an unknown one
    │   ├── UnknownRoute         404  no such path
    │   ├── WrongMethod          405  the path exists, the method does not
    │   ├── RequestTimeout       408  head or body took too long
    │   ├── ClientGone           408  the client left before its answer was ready
    │   ├── BodyTooLarge         413  more bytes than the service reads
    │   ├── WrongMediaType       415  the body does not claim to be JSON
    │   ├── UnknownEncoding      415  the body is compressed by other means than gzip
    │   ├── InvalidRequest       422  JSON, but not what the route takes; one pointer per offence
    │   ├── HeadTooLarge         431  head or trailers over the limit
    │   └── InternalError        500  a fault in the service
    ├── UnknownModel             404  no such model is loaded
    ├── Overloaded               429  the queue is full
    ├── NotReady                 503  starting, draining, or the last forward pass failed
    ├── PredictionFailed         503  the forward pass failed on this text
    └── DeadlineExceeded         504  no answer in time

`STATUSES` is the only place that gives an error its status; OpenAPI and the documents derive theirs from it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson
from starlette.responses import Response

from service.inference.errors import (
    DeadlineExceeded,
    HeedError,
    NotReady,
    Overloaded,
    PredictionFailed,
    UnknownModel,
)

PROBLEM_MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Offence:
    """One thing wrong with a request: a JSON pointer (RFC 6901), and what was expected and received there."""

    pointer: str
    detail: str


class HttpError(HeedError):
    """A failure that only HTTP knows. `headers` belong to its response."""

    def __init__(self, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.headers = headers or {}


class MalformedRequest(HttpError):
    """The bytes are not an HTTP/1.1 request."""

    def __init__(self) -> None:
        super().__init__("Expected an HTTP/1.1 request. Received bytes that are none.")


class MalformedBody(HttpError):
    """The body is not JSON text: a syntax error, invalid UTF-8, a lone surrogate, NaN, an empty body."""


class Unauthorised(HttpError):
    """Keys are set and the request carries none of them."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, {"WWW-Authenticate": 'Bearer realm="heed"'})


class UnknownRoute(HttpError):
    """Nothing is served at this path."""


class WrongMethod(HttpError):
    """The path is served, but not with this method."""

    def __init__(self, detail: str, *, allow: str) -> None:
        super().__init__(detail, {"Allow": allow})


class RequestTimeout(HttpError):
    """The request was not complete in time."""

    def __init__(self, part: str, seconds: float) -> None:
        super().__init__(f"Expected the whole {part} within {seconds:g} seconds. Received a part of it.")


class ClientGone(HttpError):
    """The client left before its answer was ready; only the log and the metrics see this."""

    def __init__(self) -> None:
        super().__init__("The connection was closed before the answer was ready.")


class BodyTooLarge(HttpError):
    """The body has more bytes than the service reads."""

    def __init__(self, max_body_bytes: int) -> None:
        super().__init__(
            f"Expected a body of at most {max_body_bytes:,} bytes. Received more. Send the texts in several requests."
        )


class WrongMediaType(HttpError):
    """The body does not claim to be JSON."""

    def __init__(self, received: str | None) -> None:
        shown = "no Content-Type" if received is None else repr(received[:100])
        super().__init__(
            f"Expected 'Content-Type: application/json'. Received {shown}.", {"Accept": "application/json"}
        )


class UnknownEncoding(HttpError):
    """The body is compressed in a way that the service does not read."""

    def __init__(self, received: str) -> None:
        super().__init__(
            f"Expected no Content-Encoding, or gzip. Received {received[:100]!r}.", {"Accept-Encoding": "gzip"}
        )


class InvalidRequest(HttpError):
    """JSON, but not what the route takes. `offences` says where and why, all of them at once."""

    def __init__(self, offences: Sequence[Offence]) -> None:
        count = "one offence" if len(offences) == 1 else f"{len(offences)} offences"
        super().__init__(f"The request has {count}; 'errors' points at each.")
        self.offences = tuple(offences)


class HeadTooLarge(HttpError):
    """The head or the trailers of the request are over the limit."""

    def __init__(self, max_bytes: int, max_headers: int) -> None:
        super().__init__(
            f"Expected a head, and trailers, of at most {max_bytes:,} bytes and {max_headers} headers. Received more."
        )


class InternalError(HttpError):
    """A fault in the service. The client is told nothing of the inside; the log has the rest."""

    def __init__(self) -> None:
        super().__init__("The service has a fault. The log has it under the request id in X-Request-Id.")


@dataclass(frozen=True, slots=True)
class Status:
    """An HTTP status code and a title that never varies."""

    code: int
    title: str


STATUSES: dict[type[HeedError], Status] = {
    MalformedRequest: Status(400, "The request is not HTTP/1.1"),
    MalformedBody: Status(400, "The body is not JSON"),
    Unauthorised: Status(401, "An API key is needed"),
    UnknownModel: Status(404, "No such model"),
    UnknownRoute: Status(404, "No such route"),
    WrongMethod: Status(405, "This route does not take that method"),
    RequestTimeout: Status(408, "The request took too long"),
    ClientGone: Status(408, "The client left"),
    BodyTooLarge: Status(413, "The body is too large"),
    WrongMediaType: Status(415, "The body must be application/json"),
    UnknownEncoding: Status(415, "The body may be compressed by gzip only"),
    InvalidRequest: Status(422, "The request is not valid"),
    HeadTooLarge: Status(431, "The head is too large"),
    Overloaded: Status(429, "The queue is full"),
    InternalError: Status(500, "A fault in the service"),
    NotReady: Status(503, "Not ready"),
    PredictionFailed: Status(503, "The forward pass failed"),
    DeadlineExceeded: Status(504, "The deadline passed"),
}


def status_of(error: HeedError | type[HeedError]) -> Status:
    """Return the row of `STATUSES` for an error or its class; an unlisted class takes its parent's row."""
    kind = error if isinstance(error, type) else type(error)
    for ancestor in kind.__mro__:
        if ancestor in STATUSES:
            return STATUSES[ancestor]
    return STATUSES[InternalError]


def headers_of(error: HeedError) -> dict[str, str]:
    """Return the response headers that belong to an error, such as `Retry-After`."""
    if isinstance(error, HttpError):
        return dict(error.headers)
    if isinstance(error, Overloaded):
        # Whole seconds, rounded up and at least one: the header takes no fraction, and 0 invites a storm.
        return {"Retry-After": str(max(1, -int(-error.retry_after // 1)))}
    return {"Retry-After": "1"} if status_of(error).code == 503 else {}


def problem_type(kind: type[HeedError]) -> str:
    """Return the stable URI that names a failure to programs, such as `urn:heed:problem:unknown-model`."""
    return "urn:heed:problem:" + re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower()


def problem_document(error: HeedError, path: str) -> dict[str, Any]:
    """Return the RFC 9457 document for an error at a path."""
    status = status_of(error)
    offences = error.offences if isinstance(error, InvalidRequest) else ()
    return {
        "type": problem_type(type(error)),
        "title": status.title,
        "status": status.code,
        "detail": error.detail,
        "instance": quote(path, safe="/:@!$&'()*+,;=~"),
        "errors": [{"pointer": each.pointer, "detail": each.detail} for each in offences],
    }


def problem_response(error: HeedError, path: str) -> Response:
    """Return the response for an error at a path."""
    return Response(
        orjson.dumps(problem_document(error, path)),
        status_code=status_of(error).code,
        media_type=PROBLEM_MEDIA_TYPE,
        headers=headers_of(error),
    )
