"""Results and errors of the client.

ClientError
├── Unreachable            no answer: the service is down, the network failed, or the timeout passed
└── ServiceProblem         the service answered with a problem document, in `.problem`
    ├── NotAuthorised      401
    ├── NotFound           404  no such model, or no such route
    ├── RequestRefused     any other 4xx: the request must change
    └── ServiceUnavailable 429 and 5xx: the same request may succeed later
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar

import httpx

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a text. `contribution` is None if the model has no exact one."""

    text: str
    start: int
    end: int
    weight: float
    contribution: float | None
    known: bool


@dataclass(frozen=True, slots=True)
class Truncation:
    """How many tokens of a text were read."""

    applied: bool
    tokens_total: int
    tokens_read: int


@dataclass(frozen=True, slots=True)
class Caveat:
    """A warning about a prediction: a documented code, and a message for people."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class AnsweringModel:
    """The model that answered."""

    name: str
    version: str
    mechanism: str
    attention_is: Literal["exact", "approximate"]
    attention_above_chance: bool | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one text; `docs/http.md` says what each field means."""

    model: AnsweringModel
    label: str
    probability: float
    scores: dict[str, float]
    target: str
    base_log_odds: float | None
    tokens: tuple[Token, ...]
    truncation: Truncation
    warnings: tuple[Caveat, ...]

    def heaviest(self, count: int) -> list[Token]:
        """The `count` tokens with the largest weights, the heaviest first."""
        return sorted(self.tokens, key=lambda token: -token.weight)[:count]


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem document (RFC 9457), and the id of the request in the service's log."""

    type: str
    title: str
    status: int
    detail: str
    errors: tuple[tuple[str, str], ...]
    """A JSON pointer into the request and a message for each error."""
    request_id: str | None

    def __str__(self) -> str:
        lines = [f"{self.status} {self.title}: {self.detail}"]
        lines += [f"  {pointer or 'the body'}: {detail}" for pointer, detail in self.errors]
        return "\n".join(lines)


class ClientError(Exception):
    """Base of the client's errors."""


class Unreachable(ClientError):
    """There was no answer."""


class ServiceProblem(ClientError):
    """The service answered with a problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class NotAuthorised(ServiceProblem):
    """The API key is missing or unknown."""


class NotFound(ServiceProblem):
    """There is no such model or route."""


class RequestRefused(ServiceProblem):
    """The request must change before it can succeed."""


class ServiceUnavailable(ServiceProblem):
    """The same request may succeed later."""


def read_predictions(response: httpx.Response) -> list[Prediction]:
    """Read the answer of `POST /predict`."""
    document = response.json()
    model = _read(AnsweringModel, document["model"])
    return [
        _read(
            Prediction,
            entry
            | {
                "model": model,
                "tokens": tuple(_read(Token, token) for token in entry["tokens"]),
                "truncation": _read(Truncation, entry["truncation"]),
                "warnings": tuple(_read(Caveat, warning) for warning in entry["warnings"]),
            },
        )
        for entry in document["predictions"]
    ]


def _read(kind: type[T], values: Mapping[str, Any]) -> T:
    """Make a dataclass of the known values. A newer service may send more, and an older one less."""
    return kind(**{each.name: values[each.name] for each in fields(kind) if each.name in values})  # type: ignore[arg-type]


def checked(response: httpx.Response | httpx.TransportError) -> httpx.Response:
    """Return a successful response.

    Raises:
        ServiceProblem: the response is an error; the subclass says which.
        Unreachable: there is no response.
    """
    if isinstance(response, httpx.TransportError):
        raise Unreachable(f"The service did not answer: {response}.") from response
    if response.is_success:
        return response
    problem = _read_problem(response)
    match response.status_code:
        case 401:
            raise NotAuthorised(problem)
        case 404:
            raise NotFound(problem)
        case status if status == 429 or status >= 500:
            raise ServiceUnavailable(problem)
        case _:
            raise RequestRefused(problem)


def _read_problem(response: httpx.Response) -> Problem:
    """Read the problem document of a response, or make one: a proxy may have answered without it."""
    try:
        document = response.json()
        known = {name: document[name] for name in ("type", "title", "detail")}
        errors = tuple((each["pointer"], each["detail"]) for each in document.get("errors", ()))
    except (ValueError, KeyError, TypeError):
        known = {"type": "about:blank", "title": response.reason_phrase, "detail": response.text[:200]}
        errors = ()
    return Problem(**known, status=response.status_code, errors=errors, request_id=response.headers.get("X-Request-Id"))
