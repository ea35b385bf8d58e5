"""`HeedClient` and `AsyncHeedClient`: send one request, return one typed answer."""

import asyncio
import time
from collections.abc import Sequence
from itertools import count
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypedDict, TypeVar, Unpack
from urllib.parse import quote

import httpx

from service.client.answers import Prediction, checked, read_predictions

_RETRIED_STATUSES = frozenset({429, 503})

HttpClient = TypeVar("HttpClient", httpx.Client, httpx.AsyncClient)


class PredictOptions(TypedDict, total=False):
    """Options of `predict` and `predict_many`.

    Attributes:
        model: name of a model; None for the service's default.
        attention: return tokens. Default: True.
        top_tokens: return only this many tokens, the heaviest; None for all.
        offset_encoding: unit of the tokens' offsets. Default: "codepoint", which indexes Python strings.
    """

    model: str | None
    attention: bool
    top_tokens: int | None
    offset_encoding: Literal["codepoint", "utf16", "utf8"]


class _Client(Generic[HttpClient]):
    """The part of the clients that does no I/O: configuration, retries and requests."""

    _http_class: type[HttpClient]

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout: float = 60.0,
        attempts: int = 4,
        longest_wait: float = 10.0,
    ) -> None:
        self._attempts = attempts
        self._longest_wait = longest_wait
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http: HttpClient = self._http_class(base_url=base_url, timeout=timeout, headers=headers)

    def _wait(self, attempt: int, outcome: httpx.Response | httpx.TransportError) -> float | None:
        """Seconds to wait after attempt number `attempt`; None to give up."""
        if attempt >= self._attempts or isinstance(outcome, httpx.TimeoutException):
            return None
        wait = 0.1 * 2.0 ** (attempt - 1)
        if isinstance(outcome, httpx.Response):
            if outcome.status_code not in _RETRIED_STATUSES:
                return None
            retry_after = outcome.headers.get("Retry-After", "")
            wait = float(retry_after) if retry_after.isdecimal() else wait
        return wait if wait <= self._longest_wait else None


class HeedClient(_Client[httpx.Client]):
    """Client of a service with one connection pool. Thread-safe. Close it, or use `with`.

    Args:
        base_url: URL of the service.
        api_key: one of the service's keys, if it has any.
        timeout: seconds to wait for each answer.
        attempts: maximum number of times to send a request. It is repeated after 429, 503 or a broken connection,
            which is safe because predictions change nothing.
        longest_wait: maximum seconds between attempts. If `Retry-After` asks for more, the error is raised at once.
    """

    _http_class = httpx.Client

    def predict(self, text: str, **options: Unpack[PredictOptions]) -> Prediction:
        """Classify one text. See `predict_many`."""
        [prediction] = self.predict_many([text], **options)
        return prediction

    def predict_many(self, texts: Sequence[str], **options: Unpack[PredictOptions]) -> list[Prediction]:
        """Classify texts in one request.

        Args:
            texts: 1 to 64 texts, unless the service sets another limit.
            **options: see `PredictOptions`.

        Returns:
            One prediction per text, in order.

        Raises:
            ServiceProblem: the service rejected the request or failed; the subclass says which.
            Unreachable: there was no answer.
        """
        return read_predictions(self._send("POST", "/predict", _predict_body(texts, options)))

    def models(self) -> list[dict[str, Any]]:
        """Return a summary of each loaded model, as in `GET /models`."""
        models: list[dict[str, Any]] = self._send("GET", "/models").json()["models"]
        return models

    def model(self, name: str) -> dict[str, Any]:
        """Return the card of a model."""
        card: dict[str, Any] = self._send("GET", _card_path(name)).json()
        return card

    def ready(self) -> bool:
        """Tell whether the service is up and accepts predictions."""
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

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        outcome: httpx.Response | httpx.TransportError
        for attempt in count(1):
            try:
                outcome = self._http.request(method, path, json=body)
            except httpx.TransportError as error:
                outcome = error
            wait = self._wait(attempt, outcome)
            if wait is None:
                break
            time.sleep(wait)
        return checked(outcome)


class AsyncHeedClient(_Client[httpx.AsyncClient]):
    """`HeedClient` for asyncio, with the same arguments, results and errors. Use `async with`, or `await aclose()`."""

    _http_class = httpx.AsyncClient

    async def predict(self, text: str, **options: Unpack[PredictOptions]) -> Prediction:
        """Classify one text. See `HeedClient.predict_many`."""
        [prediction] = await self.predict_many([text], **options)
        return prediction

    async def predict_many(self, texts: Sequence[str], **options: Unpack[PredictOptions]) -> list[Prediction]:
        """Classify texts in one request. See `HeedClient.predict_many`."""
        return read_predictions(await self._send("POST", "/predict", _predict_body(texts, options)))

    async def models(self) -> list[dict[str, Any]]:
        """Return a summary of each loaded model, as in `GET /models`."""
        models: list[dict[str, Any]] = (await self._send("GET", "/models")).json()["models"]
        return models

    async def model(self, name: str) -> dict[str, Any]:
        """Return the card of a model."""
        card: dict[str, Any] = (await self._send("GET", _card_path(name))).json()
        return card

    async def ready(self) -> bool:
        """Tell whether the service is up and accepts predictions."""
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

    async def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        outcome: httpx.Response | httpx.TransportError
        for attempt in count(1):
            try:
                outcome = await self._http.request(method, path, json=body)
            except httpx.TransportError as error:
                outcome = error
            wait = self._wait(attempt, outcome)
            if wait is None:
                break
            await asyncio.sleep(wait)
        return checked(outcome)


def _card_path(name: str) -> str:
    # Quote the dot too: a plain ".." would leave /models when the URL is normalised.
    return f"/models/{quote(name, safe='').replace('.', '%2E')}"


def _predict_body(texts: Sequence[str], options: PredictOptions) -> dict[str, Any]:
    if isinstance(texts, str):
        raise TypeError("predict_many: expected a sequence of texts. Received one string; use predict for one text.")
    return {"texts": list(texts), **options}
