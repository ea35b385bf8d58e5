"""Requests as bytes, prepared once."""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class Target(NamedTuple):
    """An address for requests, and the way a text becomes their body.

    Attributes:
        host, port: of the server.
        path: path of the POST requests.
        body: makes the JSON document of a request from a text.
    """

    host: str
    port: int
    path: str
    body: Callable[[str], Any]

    @classmethod
    def at(cls, url: str, path: str, body: Callable[[str], Any]) -> "Target":
        """Return the target at `url`, such as http://127.0.0.1:8000.

        Raises:
            ValueError: `url` is not an http URL with a host.
        """
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"Expected a URL such as http://127.0.0.1:8000. Received {url!r}.")
        return cls(parts.hostname, parts.port or 80, path, body)

    def requests(self, texts: Sequence[str]) -> list[bytes]:
        """Return a request per text: head and body, ready to be written."""
        return [self._request(json.dumps(self.body(text), ensure_ascii=False).encode()) for text in texts]

    def _request(self, body: bytes) -> bytes:
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nAccept: application/json\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def heed_body(text: str) -> Any:
    """Return the body of `POST /predict`."""
    return {"text": text}
