"""Any bytes a client sends get a documented answer, never a 500."""

import gzip
import json
import socket
import time
from collections import Counter
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from service.http.schemas import Problem
from tests.service.running import RunningService

JSON = {"Content-Type": "application/json"}
GOOD = b'{"text": "A dull film."}'


def exchange(service: RunningService, sent: bytes, *, then: bytes = b"") -> httpx.Response:
    """Send bytes as they are and read one answer; `then` is sent on until the answer comes."""
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(sent)
        while then:
            connection.settimeout(0.05)
            try:
                if connection.recv(1, socket.MSG_PEEK):
                    break
            except TimeoutError:
                connection.settimeout(20)
                connection.sendall(then)
        connection.settimeout(20)
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536)
        head, _, body = received.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        headers = httpx.Headers([tuple(line.split(": ", 1)) for line in lines])  # type: ignore[misc]
        while len(body) < int(headers["content-length"]):
            body += connection.recv(65536)
    return httpx.Response(int(status_line.split()[1]), headers=headers, content=body)


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem document of an answer, once it is what it should be."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["X-Request-Id"]
    document: dict[str, Any] = answer.json()
    assert Problem.model_validate(document, strict=True).model_dump() == document
    assert document["status"] == status
    return document


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b'{"text": "a"',
        b'{"text": "\xff\xfe"}',
        b'{"text": "\\ud800"}',
        b'{"text": "a", "top_tokens": NaN}',
        b'{"text": "a", "text": "b"}',
        b"[" * 500_000,
        b'{"text": ' * 100_000,
    ],
    ids=lambda body: repr(body[:30]),
)
def test_400_what_is_not_json(service: RunningService, body: bytes) -> None:
    document = problem(httpx.post(f"{service.url}/predict", content=body, headers=JSON), 400)
    assert document["type"] == "urn:heed:problem:malformed-body"
    assert document["detail"].startswith("Expected ")


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, [""]),
        ([1], [""]),
        ({"text": "a", "texts": ["a"]}, [""]),
        ({"texts": ["a"] * 65}, ["/texts"]),
        ({"texts": []}, ["/texts"]),
        ({"text": "a" * 20_001}, ["/text"]),
        ({"text": " "}, ["/text"]),
        ({"texts": ["a", "\u200b \u2060", ""]}, ["/texts/2"]),
        ({"text": "a", "offset_encoding": "utf32"}, ["/offset_encoding"]),
        ({"texts": ["a", 1], "tops": 1, "attention": None}, ["/texts/1", "/attention", "/tops"]),
        ({"text": "a", "top_tokens": 10**400}, None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_422_points_at_the_offences(service: RunningService, body: Any, pointers: list[str] | None) -> None:
    answer = httpx.post(f"{service.url}/predict", content=json.dumps(body), headers=JSON)
    if pointers is None:  # not even a number of JSON's
        problem(answer, 400)
        return
    document = problem(answer, 422)
    assert sorted(each["pointer"] for each in document["errors"]) == sorted(pointers)


def test_422_a_text_that_has_characters_but_no_token(service: RunningService) -> None:
    document = problem(httpx.post(f"{service.url}/predict", json={"texts": ["Fine.", "<br />", "<br>"]}), 422)
    assert [each["pointer"] for each in document["errors"]] == ["/texts/1", "/texts/2"]
    assert "at least one word" in document["errors"][0]["detail"]


@pytest.mark.parametrize(
    "media_type",
    [
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/ld+json",
        ";",
        "é",
    ],
)
def test_415_what_does_not_claim_to_be_json(service: RunningService, media_type: str | None) -> None:
    headers = {} if media_type is None else {"Content-Type": media_type.encode()}
    document = problem(httpx.post(f"{service.url}/predict", content=GOOD, headers=headers), 415)
    assert "application/json" in document["detail"]


@pytest.mark.parametrize(
    "media_type",
    [
        "application/json; charset=utf-8",
        'Application/JSON;charset="UTF-8"',
        "application/json ;",
        "application/json; charset=utf8",
        "application/json;charset=us-ascii",
        "application/json; version=1; x",
    ],
)
def test_json_may_have_any_parameter(service: RunningService, media_type: str) -> None:
    assert httpx.post(f"{service.url}/predict", content=GOOD, headers={"Content-Type": media_type}).status_code == 200


def test_404_names_the_models_there_are(service: RunningService) -> None:
    document = problem(httpx.post(f"{service.url}/predict", json={"text": "a", "model": "nope"}), 404)
    assert "'nope'" in document["detail"]
    assert "'default', 'stars'" in document["detail"]


def test_404_and_405_are_problems_as_well(service: RunningService) -> None:
    problem(httpx.get(f"{service.url}/predictions"), 404)
    problem(httpx.post(f"{service.url}/predict/", json={"text": "a"}), 404)
    document = problem(httpx.get(f"{service.url}/%F0%9F%8E%AC/%ff%00<script>"), 404)
    assert "<" not in document["instance"]
    wrong = httpx.get(f"{service.url}/predict")
    assert problem(wrong, 405)
    assert wrong.headers["Allow"] == "POST"
    problem(httpx.delete(f"{service.url}/models"), 405)
    problem(httpx.request("PROPFIND", f"{service.url}/predict"), 405)


def test_413_a_body_too_large_is_refused_by_its_announced_length(service: RunningService) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2097153\r\n\r\n"
    assert "2,097,152" in problem(exchange(service, head), 413)["detail"]
    problem(httpx.post(f"{service.url}/predict", content=b" " * 3_000_000, headers=JSON), 413)


def test_413_a_chunked_body_that_never_ends_is_refused_on_the_way(service: RunningService) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    problem(exchange(service, head, then=chunk), 413)


def test_a_gzip_body_is_decoded(service: RunningService) -> None:
    plain = httpx.post(f"{service.url}/predict", content=GOOD, headers=JSON).json()
    for name in ("gzip", "GZIP", "x-gzip"):
        headers = JSON | {"Content-Encoding": name}
        answer = httpx.post(f"{service.url}/predict", content=gzip.compress(GOOD), headers=headers)
        assert answer.json() == plain
    identity = JSON | {"Content-Encoding": "identity"}
    assert httpx.post(f"{service.url}/predict", content=GOOD, headers=identity).status_code == 200


def test_413_a_gzip_bomb_is_refused_before_it_is_decoded_whole(service: RunningService) -> None:
    bomb = gzip.compress(b" " * 400_000_000, 9)
    assert len(bomb) < 1_000_000
    problem(httpx.post(f"{service.url}/predict", content=bomb, headers=JSON | {"Content-Encoding": "gzip"}), 413)


@pytest.mark.parametrize("body", [GOOD, gzip.compress(GOOD)[:-4], gzip.compress(GOOD) + b"more", b""], ids=len)
def test_400_what_is_not_gzip_though_it_says_so(service: RunningService, body: bytes) -> None:
    answer = httpx.post(f"{service.url}/predict", content=body, headers=JSON | {"Content-Encoding": "gzip"})
    assert "gzip" in problem(answer, 400)["detail"]


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "deflate"])
def test_415_names_the_encoding_that_is_not_read(service: RunningService, encoding: str) -> None:
    answer = httpx.post(f"{service.url}/predict", content=GOOD, headers=JSON | {"Content-Encoding": encoding})
    assert repr(encoding) in problem(answer, 415)["detail"]
    assert answer.headers["Accept-Encoding"] == "gzip"


def test_a_body_of_exactly_the_limit_is_read(service: RunningService) -> None:
    body = GOOD + b" " * (2 * 1024 * 1024 - len(GOOD))
    assert httpx.post(f"{service.url}/predict", content=body, headers=JSON).status_code == 200
    assert httpx.post(f"{service.url}/predict", content=iter([body[:100], body[100:]]), headers=JSON).status_code == 200
    problem(httpx.post(f"{service.url}/predict", content=iter([body, b" "]), headers=JSON), 413)


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnot a length\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Request-Id: \xff\r\nAuthorization: \xff\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    ],
    ids=lambda sent: repr(sent[:40]),
)
def test_what_is_hardly_http_leaves_the_service_as_it_was(service: RunningService, sent: bytes) -> None:
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(0.5)
        try:
            received = connection.recv(65536)
        except (TimeoutError, ConnectionResetError):
            received = b""
    assert not received.startswith(b"HTTP/1.1 5")
    assert httpx.post(f"{service.url}/predict", content=GOOD, headers=JSON).status_code == 200
    assert service.process.poll() is None


def test_clients_who_leave_are_no_faults(service: RunningService) -> None:
    host, port = service.url.removeprefix("http://").split(":")
    body = json.dumps({"texts": ["dull " * 3000] * 64}).encode()
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(
        body
    )
    for sent in (head + body, head + body[: len(body) // 2], head):
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(sent)
    time.sleep(0.3)
    assert httpx.post(f"{service.url}/predict", content=GOOD, headers=JSON).status_code == 200


def test_reviews_are_never_logged(service: RunningService) -> None:
    for body in (b'{"text": "xylophonist was dull"}', b'{"text": "xylophonist", "b": 1}', b'{"text": "xylophonist'):
        httpx.post(f"{service.url}/predict?q=xylophonist", content=body, headers=JSON | {"X-Request-Id": "mark-0815"})
    assert "mark-0815" in service.log
    assert "xylophonist" not in service.log


GENERATED = [
    (operation, GenerationMode.POSITIVE)
    for operation in (
        "POST /predict",
        "GET /models",
        "GET /models/{name}",
        "GET /metrics",
        "GET /livez",
        "GET /readyz",
        "GET /startupz",
    )
] + [("POST /predict", GenerationMode.NEGATIVE), ("GET /models", GenerationMode.NEGATIVE)]


@pytest.mark.parametrize(("label", "mode"), GENERATED)
def test_what_is_generated_from_the_description_gets_what_it_says(
    service: RunningService, label: str, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    operations = {operation.ok().label: operation.ok() for operation in schema.get_all_operations()}
    statuses: Counter[int] = Counter()

    @hypothesis_settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operations[label].as_strategy(generation_mode=mode))
    def every_case(case: schemathesis.Case) -> None:
        response = case.call()
        statuses[response.status_code] += 1
        case.validate_response(
            response,
            checks=[
                not_a_server_error,
                status_code_conformance,
                content_type_conformance,
                response_headers_conformance,
                response_schema_conformance,
            ],
        )

    every_case()
    if label == "POST /predict":
        assert statuses[200 if mode is GenerationMode.POSITIVE else 422] > 5, statuses


def test_nothing_above_was_a_fault(service: RunningService) -> None:
    metrics = httpx.get(f"{service.url}/metrics").text
    assert 'status="500"' not in metrics
    assert '"event": "fault"' not in service.log
    assert "Traceback" not in service.log
