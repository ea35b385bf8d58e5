"""`HeedClient` and `AsyncHeedClient`: one request out, one typed answer back."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

import httpx

from service.client.answers import (
    Prediction,
    checked,
    read_predictions,
)

_RETRIED_STATUSES = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class _Retries:
    """When to send a request again, and when to give up."""

    attempts: int
    longest_wait: float

    def wait(self, attempt: int, response: httpx.Response | None) -> float | None:
        """Seconds to wait before the next attempt; None: no further one.

        Args:
            attempt: How many there were.
            response: What the last one got; None: nothing.
        """
        if attempt >= self.attempts or (response is not None and response.status_code not in _RETRIED_STATUSES):
            return None
        wait = 0.1 * 2.0 ** (attempt - 1)
        asked = response.headers.get("Retry-After", "") if response is not None else ""
        if asked.isdecimal():
            wait = float(asked)
        # Better a quick error than a caller who waits for minutes.
        return wait if wait <= self.longest_wait else None


class HeedClient:
    """Talks to a service over one pool of connections. Safe to share between threads; close it, or use `with`.

    Args:
        base_url: Where the service is.
        api_key: One of the service's keys, where it has any.
        timeout: Seconds to wait for an answer, each time.
        attempts: How often a request is sent at most. It is sent again after 429, 503 or a broken connection, which
            is safe because predictions change nothing.
        longest_wait: Seconds to wait before sending again, at most; where `Retry-After` asks for more, the error is
            raised at once.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout: float = 60.0,
        attempts: int = 4,
        longest_wait: float = 10.0,
    ) -> None:
        self._retries = _Retries(attempts, longest_wait)
        self._http = httpx.Client(base_url=base_url, timeout=timeout, headers=_headers(api_key))

    def predict(
        self,
        text: str,
        *,
        model: str | None = None,
        attention: bool = True,
        top_tokens: int | None = None,
        offset_encoding: Literal["codepoint", "utf16", "utf8"] = "codepoint",
    ) -> Prediction:
        """Classify one text. See `predict_many`."""
        [prediction] = self.predict_many(
            [text], model=model, attention=attention, top_tokens=top_tokens, offset_encoding=offset_encoding
        )
        return prediction

    def predict_many(
        self,
        texts: Sequence[str],
        *,
        model: str | None = None,
        attention: bool = True,
        top_tokens: int | None = None,
        offset_encoding: Literal["codepoint", "utf16", "utf8"] = "codepoint",
    ) -> list[Prediction]:
        """Classify texts in one request.

        Args:
            texts: 1 to 64 texts, unless the service is set otherwise.
            model: A model's name; None: the service's default.
            attention: Whether to get tokens.
            top_tokens: Only this many of them, the heaviest; None: all.
            offset_encoding: What their offsets count; code points index Python strings.

        Returns:
            One prediction a text, in their order.

        Raises:
            ServiceProblem: the service refused, or cannot answer; the subclasses say which.
            Unreachable: there was no answer.
        """
        body = _predict_body(texts, model, attention, top_tokens, offset_encoding)
        return read_predictions(self._send("POST", "/predict", body))

    def models(self) -> list[dict[str, Any]]:
        """The loaded models in a line each, as `GET /models` shows them."""
        models: list[dict[str, Any]] = self._send("GET", "/models").json()["models"]
        return models

    def model(self, name: str) -> dict[str, Any]:
        """The card of a model."""
        card: dict[str, Any] = self._send("GET", _card_path(name)).json()
        return card

    def ready(self) -> bool:
        """Whether the service answers predictions just now; False as well where nothing answers."""
        try:
            return self._http.get("/readyz").is_success
        except httpx.TransportError:
            return False

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        for attempt in range(1, self._retries.attempts + 1):
            response, failure = None, None
            try:
                response = self._http.request(method, path, json=body)
            except httpx.TransportError as error:
                failure = error
            wait = None if isinstance(failure, httpx.TimeoutException) else self._retries.wait(attempt, response)
            if wait is None:
                break
            time.sleep(wait)
        return checked(response, failure)


class AsyncHeedClient:
    """`HeedClient` for asyncio: the same arguments, results and errors; use `async with`, or `await aclose()`."""

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout: float = 60.0,
        attempts: int = 4,
        longest_wait: float = 10.0,
    ) -> None:
        self._retries = _Retries(attempts, longest_wait)
        self._http = httpx.AsyncClient(base_url=base_url, timeout=timeout, headers=_headers(api_key))

    async def predict(
        self,
        text: str,
        *,
        model: str | None = None,
        attention: bool = True,
        top_tokens: int | None = None,
        offset_encoding: Literal["codepoint", "utf16", "utf8"] = "codepoint",
    ) -> Prediction:
        """Classify one text. See `HeedClient.predict_many`."""
        [prediction] = await self.predict_many(
            [text], model=model, attention=attention, top_tokens=top_tokens, offset_encoding=offset_encoding
        )
        return prediction

    async def predict_many(
        self,
        texts: Sequence[str],
        *,
        model: str | None = None,
        attention: bool = True,
        top_tokens: int | None = None,
        offset_encoding: Literal["codepoint", "utf16", "utf8"] = "codepoint",
    ) -> list[Prediction]:
        """Classify texts in one request. See `HeedClient.predict_many`."""
        body = _predict_body(texts, model, attention, top_tokens, offset_encoding)
        return read_predictions(await self._send("POST", "/predict", body))

    async def models(self) -> list[dict[str, Any]]:
        """The loaded models in a line each, as `GET /models` shows them."""
        models: list[dict[str, Any]] = (await self._send("GET", "/models")).json()["models"]
        return models

    async def model(self, name: str) -> dict[str, Any]:
        """The card of a model."""
        card: dict[str, Any] = (await self._send("GET", _card_path(name))).json()
        return card

    async def ready(self) -> bool:
        """Whether the service answers predictions just now; False as well where nothing answers."""
        try:
            return (await self._http.get("/readyz")).is_success
        except httpx.TransportError:
            return False

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        for attempt in range(1, self._retries.attempts + 1):
            response, failure = None, None
            try:
                response = await self._http.request(method, path, json=body)
            except httpx.TransportError as error:
                failure = error
            wait = None if isinstance(failure, httpx.TimeoutException) else self._retries.wait(attempt, response)
            if wait is None:
                break
            await asyncio.sleep(wait)
        return checked(response, failure)


def _headers(api_key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


def _card_path(name: str) -> str:
    # A dot is quoted too: "..", left as it is, would climb out of /models before it is sent.
    return f"/models/{quote(name, safe='').replace('.', '%2E')}"


def _predict_body(
    texts: Sequence[str], model: str | None, attention: bool, top_tokens: int | None, offset_encoding: str
) -> dict[str, Any]:
    if isinstance(texts, str):
        raise TypeError("predict_many: expected a sequence of texts. Received one string; use predict for one text.")
    return {
        "texts": list(texts),
        "model": model,
        "attention": attention,
        "top_tokens": top_tokens,
        "offset_encoding": offset_encoding,
    }
