"""API keys: the check, and how OpenAPI describes it."""

import hmac
from collections.abc import Sequence

from fastapi import Depends
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import SecretStr
from starlette.types import Scope

from service.http.middleware import header_of
from service.http.problems import Unauthorised

_DESCRIPTION = "One of the keys in `HEED_API_KEYS`."
SECURITY_SCHEMES = (
    Depends(HTTPBearer(auto_error=False, scheme_name="bearer", description=_DESCRIPTION)),
    Depends(APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="header", description=_DESCRIPTION)),
)
"""Dependencies that FastAPI never runs on our routes; they put both schemes into the OpenAPI document."""


class KeyCheck:
    """Lets a request pass that carries one of the keys, or any request if there are none.

    The key is taken from `Authorization: Bearer KEY` or `X-API-Key: KEY`.
    """

    def __init__(self, api_keys: Sequence[SecretStr]) -> None:
        self._keys = [key.get_secret_value().encode() for key in api_keys]

    def __call__(self, scope: Scope) -> None:
        """Check the headers of one request.

        Raises:
            Unauthorised: they hold no key, or an unknown one.
        """
        if not self._keys:
            return
        scheme, _, bearer = (header_of(scope, b"authorization") or "").partition(" ")
        given = bearer if scheme.lower() == "bearer" else header_of(scope, b"x-api-key")
        if given is None:
            raise Unauthorised("Expected 'Authorization: Bearer KEY' or 'X-API-Key: KEY'. Received neither.")
        # Latin-1 gives back the bytes that were sent. Every key is compared, each in constant time, so that the time
        # taken does not tell which key matched, or how nearly.
        matches = [hmac.compare_digest(given.encode("latin-1"), key) for key in self._keys]
        if not any(matches):
            raise Unauthorised("Expected one of the API keys that are set. Received another.")
