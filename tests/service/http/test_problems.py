"""The errors: drawn as they are, and each has its one row in the table of statuses."""

import json
import re
from http import HTTPStatus

import pytest

from service.http import problems
from service.http.problems import (
    STATUSES,
    BodyTooLarge,
    HttpError,
    InvalidRequest,
    Offence,
    Unauthorised,
    UnknownEncoding,
    WrongMethod,
    headers_of,
    problem_document,
    problem_response,
    problem_type,
    status_of,
)
from service.inference.errors import (
    DeadlineExceeded,
    HeedError,
    NotReady,
    Overloaded,
    PredictionFailed,
    UnknownModel,
)


def leaves(kind: type[HeedError]) -> set[type[HeedError]]:
    below = kind.__subclasses__()
    return set().union(*map(leaves, below)) if below else {kind}


def test_the_table_holds_every_error_and_nothing_else() -> None:
    assert set(STATUSES) == leaves(HeedError)


def test_the_drawing_in_the_docstring_is_the_tree_and_the_table() -> None:
    assert problems.__doc__ is not None
    drawn = dict(re.findall(r"── (\w+)\s+(\d{3}) ", problems.__doc__))
    assert drawn == {kind.__name__: str(status.code) for kind, status in STATUSES.items()}
    of_http = set(re.findall(r"│   .── (\w+)", problems.__doc__))
    assert of_http == {kind.__name__ for kind in leaves(HttpError)}


def test_errors_of_inference_know_nothing_of_http() -> None:
    for kind in leaves(HeedError) - leaves(HttpError):
        assert kind.__module__ == "service.inference.errors"
        assert not hasattr(kind, "headers")


def test_types_and_titles_tell_errors_apart() -> None:
    assert len({problem_type(kind) for kind in STATUSES}) == len(STATUSES)
    assert len({status.title for status in STATUSES.values()}) == len(STATUSES)
    assert problem_type(UnknownModel) == "urn:heed:problem:unknown-model"
    assert all(HTTPStatus(status.code) for status in STATUSES.values())


def test_a_subclass_takes_the_row_of_its_parent_and_a_bare_error_is_internal() -> None:
    class StillLoading(NotReady):
        """A finer kind."""

    try:
        assert status_of(StillLoading("...")).code == 503
        assert headers_of(StillLoading("..."))["Retry-After"] == "1"
    finally:
        del StillLoading
    assert status_of(HeedError("...")).code == 500


@pytest.mark.parametrize(
    ("error", "header", "value"),
    [
        (Overloaded(0.2), "Retry-After", "1"),
        (Overloaded(2.1), "Retry-After", "3"),
        (NotReady("starting"), "Retry-After", "1"),
        (PredictionFailed("failed"), "Retry-After", "1"),
        (Unauthorised("no key"), "WWW-Authenticate", 'Bearer realm="heed"'),
        (UnknownEncoding("br"), "Accept-Encoding", "gzip"),
        (WrongMethod("no", allow="GET"), "Allow", "GET"),
    ],
)
def test_errors_bring_their_headers(error: HeedError, header: str, value: str) -> None:
    assert problem_response(error, "/predict").headers[header] == value


def test_a_problem_document_points_at_every_offence() -> None:
    document = problem_document(InvalidRequest([Offence("/texts/3", "Expected text.")]), "/pre<dict")
    assert document == {
        "type": "urn:heed:problem:invalid-request",
        "title": "The request is not valid",
        "status": 422,
        "detail": "The request has one offence; 'errors' points at each.",
        "instance": "/pre%3Cdict",
        "errors": [{"pointer": "/texts/3", "detail": "Expected text."}],
    }
    response = problem_response(NotReady("starting"), "/readyz")
    assert json.loads(bytes(response.body))["detail"] == "starting"
    assert response.media_type == "application/problem+json"


def test_messages_say_what_was_expected_and_received() -> None:
    assert str(UnknownModel("x", ["a", "b"])).endswith("Received 'x'. Models loaded: 'a', 'b'.")
    assert "2,097,152 bytes" in str(BodyTooLarge(2 * 1024 * 1024))
    assert "within 1.5 seconds" in str(DeadlineExceeded(1.5))
    assert len(str(UnknownModel("x" * 10_000, []))) < 300
