"""Around every request: its id, its log line, its counts, an answer when something breaks, and the check of its key."""

import hmac
import random
import re
import time
import traceback
from dataclasses import dataclass, field

import orjson
import structlog
from fastapi import Depends
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.metrics import Metrics
from service.http.problems import InternalError, Unauthorised, problem_document, problem_response
from service.inference.errors import Overloaded

REQUEST_ID_HEADER = b"x-request-id"
_REQUEST_ID_FORM = re.compile(r"[\x21-\x7e]{1,128}")
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_QUIET_ROUTES = frozenset({"/livez", "/readyz", "/startupz", "/metrics"})
_CLOSE = (b"connection", b"close")
REFUSAL = "heed.refusal"
"""In the scope of a request that is refused before its body is read: the error to answer it with."""

_BYTES_A_TOKEN = 5
"""About, of English text in JSON."""

log = structlog.get_logger("heed")


@dataclass(slots=True)
class RequestFacts:
    """Facts about a request for the log line and the metrics, filled in by its route."""

    request_id: str
    model: str | None = None
    texts: int = 0
    tokens: int = 0
    stages: dict[str, float] = field(default_factory=dict)
    """Seconds by stage: tokenize, queue, compute."""

    @property
    def server_timing(self) -> str:
        """The value of the `Server-Timing` header, in milliseconds."""
        return ", ".join(f"{stage};dur={1000 * seconds:.2f}" for stage, seconds in self.stages.items())


def facts_of(request: Request) -> RequestFacts:
    """Return the facts of the request that is being answered."""
    facts: RequestFacts = request.scope["heed.facts"]
    return facts


def header_of(scope: Scope, name: bytes) -> str | None:
    """Return the first header of this lower-case name; four times as fast as `starlette.datastructures.Headers`."""
    for each, value in scope["headers"]:
        if each == name:
            found: str = value.decode("latin-1")
            return found
    return None


def request_id_of(asked: str | None) -> str:
    """Return the id that a client asked for, or a new one if it is not fit to be echoed."""
    return asked if asked and _REQUEST_ID_FORM.fullmatch(asked) else f"{random.getrandbits(128):032x}"


class Observe:
    """ASGI middleware: gives each request an id, a log line and its counts, and answers what broke with a 500.

    While the service drains, every answer closes its connection.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        facts = RequestFacts(request_id_of(header_of(scope, REQUEST_ID_HEADER)))
        scope["heed.facts"] = facts
        scope["root_path"] = root_path = scope["app"].state.settings.root_path
        if root_path and not scope["path"].startswith(f"{root_path}/"):  # a proxy has stripped its prefix
            scope["path"] = root_path + scope["path"]
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), (REQUEST_ID_HEADER, facts.request_id.encode("ascii"))]
                message["headers"] = [*headers, _CLOSE] if scope["app"].state.draining else headers
            await send(message)

        self.metrics.in_flight += 1
        try:
            await self.app(scope, receive, send_with_id)
        except Exception as error:
            _log_fault(error, facts.request_id)
            if status:  # half an answer is out; the server closes the connection
                raise
            await problem_response(InternalError(), scope["path"])(scope, receive, send_with_id)
        finally:
            self.metrics.in_flight -= 1
            self._record(scope, facts, status, time.perf_counter() - started)

    def _record(self, scope: Scope, facts: RequestFacts, status: int, seconds: float) -> None:
        # The route's template and a closed set of methods: label values must not be made up by clients.
        route = str(getattr(scope.get("route"), "path", "static" if "endpoint" in scope else "unmatched"))
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self.metrics.count_answer(route, method, status)
        self.metrics.observe(route, seconds, facts.stages)
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
    """Log where an unexpected exception was raised, without its message, which may quote what the client sent."""
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    log.error("fault", request_id=request_id, exception=type(error).__qualname__, frames=frames)


_DESCRIPTION = "One of the keys in `HEED_API_KEYS`."
SECURITY_SCHEMES = (
    Depends(HTTPBearer(auto_error=False, scheme_name="bearer", description=_DESCRIPTION)),
    Depends(APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="header", description=_DESCRIPTION)),
)
"""Dependencies that FastAPI never runs on our routes; they put both schemes into the OpenAPI document."""


def check_key(app: Starlette, scope: Scope) -> None:
    """Let a request to `app` pass that carries one of the keys that are set, or any request if there are none.

    The key is taken from `Authorization: Bearer KEY` or `X-API-Key: KEY`.

    Raises:
        Unauthorised: it carries no key, or an unknown one.
    """
    keys = app.state.settings.api_keys
    if not keys:
        return
    scheme, _, bearer = (header_of(scope, b"authorization") or "").partition(" ")
    given = bearer if scheme.lower() == "bearer" else header_of(scope, b"x-api-key")
    if given is None:
        raise Unauthorised("Expected 'Authorization: Bearer KEY' or 'X-API-Key: KEY'. Received neither.")
    # Latin-1 gives back the bytes that were sent. Every key is compared, each in constant time, so that the time
    # taken does not tell which key matched, or how nearly.
    matches = [hmac.compare_digest(given.encode("latin-1"), key.get_secret_value().encode()) for key in keys]
    if not any(matches):
        raise Unauthorised("Expected one of the API keys that are set. Received another.")


class LoadShedding:
    """Refuses predictions by the heads of their requests while the service is full.

    Reading a request only to refuse it takes time from those that are answered.

    Args:
        app: the service.
        path: of the route to protect.

    Attributes:
        document: the problem document of every refusal.
    """

    def __init__(self, app: Starlette, path: str) -> None:
        self.document = orjson.dumps(problem_document(Overloaded(1.0), path))
        self._app = app
        self._path = path
        self._refused = 0  # since the last log line
        self._log_after = 0.0

    def admit(self, scope: Scope) -> ASGIApp:
        """Return what is to answer a request: the app, which forgets an admitted prediction afterwards.

        A browser that needs the headers of CORS is refused by the app, which finds the error in `scope`.

        Raises:
            Overloaded: too much is being answered.
        """
        state = self._app.state
        path = scope["path"].removeprefix(state.settings.root_path)
        if scope["method"] != "POST" or path != self._path or state.draining:
            return self._app
        length = header_of(scope, b"content-length") or ""
        size = int(length) if length.isdecimal() else 0
        try:
            check_key(self._app, scope)
            tokens = state.registry.admission.expect(1 + size // _BYTES_A_TOKEN)
        except Unauthorised:
            return self._app
        except Overloaded as error:
            if state.settings.cors_origins and header_of(scope, b"origin"):
                scope[REFUSAL] = error
                return self._app
            state.metrics.count_answer(self._path, "POST", 429)
            self._log()
            raise

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await self._app(scope, receive, send)
            finally:
                state.registry.admission.forget(tokens)

        return answer

    def _log(self) -> None:
        """Log refusals once a second: a line for each would slow the answers down."""
        self._refused += 1
        if time.monotonic() > self._log_after:
            log.warning("requests refused, the queue is full", requests=self._refused)
            self._refused, self._log_after = 0, time.monotonic() + 1
