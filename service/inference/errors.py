"""Every failure that the service tells a client about, and the one table from failure to HTTP status.

    HeedError
    ├── RequestError              the client can mend it
    │   ├── MalformedBody         400  the body is not JSON text
    │   ├── Unauthorised          401  no API key, or not one of those set
    │   ├── UnknownModel          404  no such model is loaded
    │   ├── UnknownRoute          404  no such path
    │   ├── WrongMethod           405  the path is there, the method is not
    │   ├── ClientGone            408  the client left before its answer was ready
    │   ├── BodyTooLarge          413  more bytes than the service reads
    │   ├── WrongMediaType        415  the body does not claim to be JSON
    │   └── InvalidRequest        422  JSON, but not what the route takes; one pointer per offence
    └── ServiceError              the client may try again
        ├── Overloaded            429  the queue is full
        ├── InternalError         500  a fault in the service itself
        ├── NotReady              503  starting, draining, or the last forward pass failed
        ├── PredictionFailed      503  the forward pass failed on this one text
        └── DeadlineExceeded      504  the answer would have come too late

A status is written once, in `STATUSES`; problem documents (RFC 9457), OpenAPI and the client derive theirs from it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

PROBLEM_MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Offence:
    """One thing wrong with a request: a JSON pointer (RFC 6901), and what was expected and received there."""

    pointer: str
    detail: str


class HeedError(Exception):
    """A failure with a message for the client: what was expected, what was received, what to do."""

    headers: dict[str, str]
    """Response headers that belong to this failure (`Retry-After`, `Allow`, ...)."""

    def __init__(self, detail: str, *, offences: Sequence[Offence] = (), retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.offences = tuple(offences)
        self.retry_after = retry_after
        self.headers = {}
        if retry_after is not None:
            # Whole seconds, rounded up and at least one: the header takes no fraction, and 0 invites a storm.
            self.headers["Retry-After"] = str(max(1, -int(-retry_after // 1)))


class RequestError(HeedError):
    """The client can mend it: the same request again gets the same answer."""


class MalformedBody(RequestError):
    """The body is not JSON text: a syntax error, invalid UTF-8, a lone surrogate, NaN, an empty body."""


class Unauthorised(RequestError):
    """Keys are set and the request carries none of them."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.headers["WWW-Authenticate"] = 'Bearer realm="heed"'


class UnknownModel(RequestError):
    """No loaded model has this name."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        there_are = ", ".join(repr(each) for each in known) if known else "none"
        super().__init__(f"Expected the name of a loaded model. Received {name[:100]!r}. Models loaded: {there_are}.")
        self.name = name
        self.known = tuple(known)


class UnknownRoute(RequestError):
    """Nothing is served at this path."""


class WrongMethod(RequestError):
    """The path is served, but not with this method."""

    def __init__(self, detail: str, *, allow: str) -> None:
        super().__init__(detail)
        self.headers["Allow"] = allow


class ClientGone(RequestError):
    """The client left before its answer was ready; nobody reads this but the log."""

    def __init__(self) -> None:
        super().__init__("The connection was closed before the answer was ready.")


class BodyTooLarge(RequestError):
    """The body has more bytes than the service reads."""

    def __init__(self, max_body_bytes: int) -> None:
        super().__init__(
            f"Expected a body of at most {max_body_bytes:,} bytes. Received more. Send the texts in several requests."
        )


class WrongMediaType(RequestError):
    """The body does not claim to be JSON."""

    def __init__(self, received: str | None) -> None:
        shown = "no Content-Type" if received is None else repr(received[:100])
        super().__init__(f"Expected 'Content-Type: application/json'. Received {shown}.")
        self.headers["Accept"] = "application/json"


class InvalidRequest(RequestError):
    """JSON, but not what the route takes. `offences` says where and why, all of them at once."""

    def __init__(self, offences: Sequence[Offence]) -> None:
        count = "one offence" if len(offences) == 1 else f"{len(offences)} offences"
        super().__init__(f"The request has {count}; 'errors' points at each.", offences=offences)


class ServiceError(HeedError):
    """The request was sound and got no answer; the same request may well get one later."""


class Overloaded(ServiceError):
    """More is queued than the service admits. `retry_after` is in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(
            "Too much is queued already. Try again after the seconds in Retry-After.", retry_after=retry_after
        )


class InternalError(ServiceError):
    """A fault in the service itself. The message tells the client nothing of the inside; the log has the rest."""

    def __init__(self) -> None:
        super().__init__("The service met a fault of its own. It is logged under the request id in X-Request-Id.")


class NotReady(ServiceError):
    """The service takes no predictions just now: starting, draining or unhealthy. `retry_after` is in seconds."""

    def __init__(self, reason: str, retry_after: float = 1.0) -> None:
        super().__init__(reason, retry_after=retry_after)


class PredictionFailed(ServiceError):
    """The forward pass failed on this one text; its neighbours in the batch have their answers."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, retry_after=1.0)


class DeadlineExceeded(ServiceError):
    """The request waited and computed for `deadline_seconds` without an answer."""

    def __init__(self, deadline_seconds: float) -> None:
        super().__init__(
            f"Expected an answer within {deadline_seconds:g} seconds. There was none; send less or try again later."
        )


@dataclass(frozen=True, slots=True)
class Status:
    """What a failure is over HTTP: its status code and a title that never varies."""

    code: int
    title: str


STATUSES: dict[type[HeedError], Status] = {
    MalformedBody: Status(400, "The body is not JSON"),
    Unauthorised: Status(401, "An API key is needed"),
    UnknownModel: Status(404, "No such model"),
    UnknownRoute: Status(404, "No such route"),
    WrongMethod: Status(405, "This route does not take that method"),
    ClientGone: Status(408, "The client left"),
    BodyTooLarge: Status(413, "The body is too large"),
    WrongMediaType: Status(415, "The body must be application/json"),
    InvalidRequest: Status(422, "The request is not valid"),
    Overloaded: Status(429, "Too much is queued"),
    InternalError: Status(500, "A fault in the service"),
    NotReady: Status(503, "Not ready"),
    PredictionFailed: Status(503, "The forward pass failed"),
    DeadlineExceeded: Status(504, "The deadline passed"),
}
"""The only place where a failure gets a status."""


def status_of(error: HeedError | type[HeedError]) -> Status:
    """The row of `STATUSES` for an error or its class; a subclass that is not listed takes its parent's row."""
    kind = error if isinstance(error, type) else type(error)
    for ancestor in kind.__mro__:
        if ancestor in STATUSES:
            return STATUSES[ancestor]
    return STATUSES[InternalError]


def problem_type(kind: type[HeedError]) -> str:
    """The stable URI that names a failure to programs, such as `urn:heed:problem:unknown-model`."""
    return "urn:heed:problem:" + re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower()


def problem_document(error: HeedError, instance: str) -> dict[str, Any]:
    """The RFC 9457 document for an error.

    Args:
        error: What went wrong.
        instance: The path that was asked.
    """
    status = status_of(error)
    return {
        "type": problem_type(type(error)),
        "title": status.title,
        "status": status.code,
        "detail": error.detail,
        "instance": instance,
        "errors": [{"pointer": each.pointer, "detail": each.detail} for each in error.offences],
    }
