"""The exception tree: drawn as it is, and every failure has its one row in the table."""

import re
from http import HTTPStatus

import pytest

from service.inference import errors
from service.inference.errors import (
    STATUSES,
    BodyTooLarge,
    DeadlineExceeded,
    HeedError,
    InvalidRequest,
    NotReady,
    Offence,
    Overloaded,
    RequestError,
    ServiceError,
    Unauthorised,
    UnknownModel,
    WrongMethod,
    problem_document,
    problem_type,
    status_of,
)


def leaves(kind: type[HeedError]) -> set[type[HeedError]]:
    below = kind.__subclasses__()
    return set().union(*map(leaves, below)) if below else {kind}


def test_the_table_holds_every_failure_and_nothing_else() -> None:
    assert set(STATUSES) == leaves(HeedError)


def test_the_drawing_in_the_docstring_is_the_tree_and_the_table() -> None:
    assert errors.__doc__ is not None
    drawn = dict(re.findall(r"── (\w+)\s+(\d{3}) ", errors.__doc__))
    assert drawn == {kind.__name__: str(status.code) for kind, status in STATUSES.items()}
    for branch in (RequestError, ServiceError):
        below = errors.__doc__.partition(f"── {branch.__name__}")[2].partition("\n    ├── Serv")[0]
        assert {kind.__name__ for kind in leaves(branch)} <= set(re.findall(r"── (\w+)", below))


def test_a_request_error_is_the_clients_and_a_service_error_may_pass() -> None:
    for kind, status in STATUSES.items():
        assert HTTPStatus(status.code)
        retry_later = status.code == 429 or status.code >= 500
        assert issubclass(kind, ServiceError) is retry_later, kind


def test_types_and_titles_tell_failures_apart() -> None:
    assert len({problem_type(kind) for kind in STATUSES}) == len(STATUSES)
    assert len({status.title for status in STATUSES.values()}) == len(STATUSES)
    assert problem_type(UnknownModel) == "urn:heed:problem:unknown-model"


def test_a_subclass_takes_the_row_of_its_parent_and_a_bare_error_is_internal() -> None:
    class StillLoading(NotReady):
        """A finer kind."""

    assert status_of(StillLoading("...")).code == 503
    assert status_of(HeedError("...")).code == 500


@pytest.mark.parametrize(
    ("error", "header", "value"),
    [
        (Overloaded(0.2), "Retry-After", "1"),
        (Overloaded(2.1), "Retry-After", "3"),
        (NotReady("starting"), "Retry-After", "1"),
        (Unauthorised("no key"), "WWW-Authenticate", 'Bearer realm="heed"'),
        (WrongMethod("no", allow="GET"), "Allow", "GET"),
    ],
)
def test_failures_bring_their_headers(error: HeedError, header: str, value: str) -> None:
    assert error.headers[header] == value


def test_a_problem_document_points_at_every_offence() -> None:
    document = problem_document(InvalidRequest([Offence("/texts/3", "Expected text.")]), "/predict")
    assert document == {
        "type": "urn:heed:problem:invalid-request",
        "title": "The request is not valid",
        "status": 422,
        "detail": "The request has one offence; 'errors' points at each.",
        "instance": "/predict",
        "errors": [{"pointer": "/texts/3", "detail": "Expected text."}],
    }


def test_messages_say_what_was_expected_and_received() -> None:
    assert str(UnknownModel("x", ["a", "b"])).endswith("Received 'x'. Models loaded: 'a', 'b'.")
    assert "2,097,152 bytes" in str(BodyTooLarge(2 * 1024 * 1024))
    assert "within 1.5 seconds" in str(DeadlineExceeded(1.5))
    assert len(str(UnknownModel("x" * 10_000, []))) < 300
