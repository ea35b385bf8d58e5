"""What every request must pass before its route: the size of its body, and an API key where keys are set."""

import hmac
from collections.abc import Awaitable, Callable

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.headers import header_of
from service.http.responses import problem_response
from service.inference.errors import BodyTooLarge, Unauthorised

_bearer = HTTPBearer(auto_error=False, scheme_name="bearer", description="One of the keys in `HEED_API_KEYS`.")
_header = APIKeyHeader(
    name="X-API-Key", auto_error=False, scheme_name="header", description="One of the keys in `HEED_API_KEYS`."
)


class BodyLimit:
    """ASGI middleware: refuses a body over the limit without reading it whole.

    A `Content-Length` over it is refused at once; without one (chunked) the bytes are counted as they come.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self.app = app
        self.max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = header_of(scope, b"content-length") or "0"
        if announced.isdecimal() and int(announced) > self.max_body_bytes:
            await problem_response(BodyTooLarge(self.max_body_bytes), scope)(scope, receive, send)
            return
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_body_bytes:
                raise BodyTooLarge(self.max_body_bytes)
            return message

        await self.app(scope, receive_counted, send)


class KeyCheck:
    """Lets a request pass that carries one of the keys, or any where there are none.

    The key is taken from `Authorization: Bearer KEY` or `X-API-Key: KEY`.
    """

    def __init__(self, api_keys: tuple[SecretStr, ...]) -> None:
        self._keys = [key.get_secret_value().encode() for key in api_keys]

    def __call__(self, scope: Scope) -> None:
        """Look at the headers of one request (ASGI).

        Raises:
            Unauthorised: there is no key in them, or another one.
        """
        if not self._keys:
            return
        scheme, _, bearer = (header_of(scope, b"authorization") or "").partition(" ")
        given = bearer if scheme.lower() == "bearer" else header_of(scope, b"x-api-key")
        if given is None:
            raise Unauthorised("Expected 'Authorization: Bearer KEY' or 'X-API-Key: KEY'. Received neither.")
        # Latin-1 gives back the bytes that were sent. Every key is compared, each in constant time, so that how long it
        # takes tells nothing about which key matched, or how nearly.
        matches = [hmac.compare_digest(given.encode("latin-1"), key) for key in self._keys]
        if not any(matches):
            raise Unauthorised("Expected one of the API keys that are set. Received another.")


def key_requirement(api_keys: tuple[SecretStr, ...]) -> Callable[..., Awaitable[None]]:
    """`KeyCheck` as a dependency of FastAPI's routes, which shows both schemes in the OpenAPI document."""
    check = KeyCheck(api_keys)

    async def require_key(
        request: Request,
        bearer: HTTPAuthorizationCredentials | None = Depends(_bearer),
        header: str | None = Depends(_header),
    ) -> None:
        check(request.scope)

    return require_key
