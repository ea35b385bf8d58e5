"""The clients against a real service, and against a scripted one that fails."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from service.client import (
    AsyncHeedClient,
    HeedClient,
    NotAuthorised,
    NotFound,
    Prediction,
    RequestRefused,
    ServiceUnavailable,
    Unreachable,
)
from tests.service.running import ROOT, RunningService

REVIEW = "I did not like it, café 🎬!"


class Both:
    """One synchronous interface to both clients, to run every test on each."""

    def __init__(self, asynchronous: bool, url: str, **options: Any) -> None:
        self._asynchronous, self._arguments = asynchronous, ((url,), options)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if not self._asynchronous:
                with HeedClient(*self._arguments[0], **self._arguments[1]) as client:
                    return getattr(client, name)(*args, **options)

            async def run() -> Any:
                async with AsyncHeedClient(*self._arguments[0], **self._arguments[1]) as client:
                    return await getattr(client, name)(*args, **options)

            return asyncio.run(run())

        return call


@pytest.fixture(params=[False, True], ids=["HeedClient", "AsyncHeedClient"])
def connect(request: pytest.FixtureRequest) -> Callable[..., Both]:
    return lambda url, **options: Both(request.param, url, **options)


class ScriptedService:
    """Gives the scripted answers (status, headers, body) in turn, and repeats the last. None hangs up."""

    def __init__(self, *script: tuple[int, dict[str, str], bytes] | None) -> None:
        self.script = list(script)
        self.requests: list[tuple[float, dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append((time.monotonic(), dict(self.headers), body))
                answer = outer.script.pop(0) if len(outer.script) > 1 else outer.script[0]
                if answer is None:
                    self.close_connection = True
                    return
                status, headers, content = answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def scripted() -> Iterator[Callable[..., ScriptedService]]:
    services: list[ScriptedService] = []

    def start(*script: Any) -> ScriptedService:
        services.append(ScriptedService(*script))
        return services[-1]

    yield start
    for service in services:
        service.close()


SUCCESS = (
    200,
    {},
    json.dumps(
        {
            # more than this client knows, and without `attention_above_chance`, which 0.3.0 did not send
            "model": {"name": "m", "version": "v", "mechanism": "x", "attention_is": "exact", "new": 1},
            "offset_encoding": "codepoint",
            "predictions": [
                {
                    "label": "a",
                    "probability": 0.9,
                    "scores": {"a": 0.9, "b": 0.1},
                    "target": "b",
                    "base_log_odds": None,
                    "tokens": [
                        {
                            "text": "t",
                            "start": 0,
                            "end": 1,
                            "weight": 1.0,
                            "contribution": None,
                            "known": True,
                            "new": 1,
                        }
                    ],
                    "truncation": {"applied": False, "tokens_total": 1, "tokens_read": 1},
                    "warnings": [{"code": "new_code", "message": "m"}],
                    "new": {},
                }
            ],
            "new": [],
        }
    ).encode(),
)
BUSY = (429, {"Retry-After": "1"}, b"{}")
DOWN = (503, {}, b"{}")


def test_predictions_are_typed_and_index_the_text(service: RunningService, connect: Callable[..., Both]) -> None:
    prediction = connect(service.url).predict(REVIEW)
    assert isinstance(prediction, Prediction)
    assert prediction.label in prediction.scores
    assert prediction.model.name == "default"
    assert [REVIEW[token.start : token.end] for token in prediction.tokens] == [
        token.text for token in prediction.tokens
    ]
    heaviest = prediction.heaviest(2)
    assert (
        heaviest[0].weight
        >= heaviest[1].weight
        >= max({t.weight for t in prediction.tokens} - {t.weight for t in heaviest})
    )
    assert prediction.truncation.tokens_total == len(prediction.tokens)


def test_many_texts_keep_their_order_and_options(service: RunningService, connect: Callable[..., Both]) -> None:
    client = connect(service.url)
    many = client.predict_many(["dull", "zzz qqq", "superb film"], model="stars", top_tokens=1)
    assert [len(prediction.tokens) for prediction in many] == [1, 1, 1]
    assert [warning.code for warning in many[1].warnings] == ["mostly_unknown"]
    assert many[0].model.name == "stars"
    assert client.predict("dull", attention=False).tokens == ()
    assert client.predict("🎬 dull", offset_encoding="utf8").tokens[1].start == 5


def test_models_cards_and_readiness(service: RunningService, connect: Callable[..., Both]) -> None:
    client = connect(service.url)
    assert [model["name"] for model in client.models()] == ["default", "stars"]
    assert client.model("stars")["labels"] == ["bad", "fair", "good"]
    assert client.ready() is True
    assert connect("http://127.0.0.1:9").ready() is False


def test_problems_carry_their_document(service: RunningService, connect: Callable[..., Both]) -> None:
    client = connect(service.url)
    with pytest.raises(RequestRefused) as refused:
        client.predict_many(["fine", " "])
    problem = refused.value.problem
    assert (problem.status, problem.type) == (422, "urn:heed:problem:invalid-request")
    assert [pointer for pointer, _ in problem.errors] == ["/texts/1"]
    assert "/texts/1: Expected a text with at least one word" in str(refused.value)
    assert problem.request_id
    for missing in ("nope", "a/b", "..", "é?#"):
        with pytest.raises(NotFound):
            client.model(missing)
    assert problem.request_id in service.log  # a request is logged before the next one is answered
    with pytest.raises(NotFound, match="'default', 'stars'"):
        client.predict("fine", model="nope")


def test_a_string_for_predict_many_is_an_error(connect: Callable[..., Both]) -> None:
    with pytest.raises(TypeError, match="use predict for one text"):
        connect("http://127.0.0.1:9").predict_many("text")


def test_a_key_is_sent_and_a_missing_one_is_an_error(
    scripted: Callable[..., ScriptedService], connect: Callable[..., Both]
) -> None:
    service = scripted(SUCCESS)
    connect(service.url, api_key="secret").predict("t")
    assert service.requests[0][1]["Authorization"] == "Bearer secret"
    with pytest.raises(NotAuthorised):
        connect(scripted((401, {}, b"{}")).url).predict("t")


def test_a_busy_service_is_retried_after_the_requested_time(
    scripted: Callable[..., ScriptedService], connect: Callable[..., Both]
) -> None:
    service = scripted(BUSY, SUCCESS)
    assert connect(service.url).predict("t").probability == 0.9
    (first, _, body), (second, _, again) = service.requests
    assert second - first >= 1
    assert body == again


def test_broken_connections_and_503_are_retried(
    scripted: Callable[..., ScriptedService], connect: Callable[..., Both]
) -> None:
    service = scripted(None, DOWN, SUCCESS)
    assert connect(service.url).predict("t").label == "a"
    assert len(service.requests) == 3


def test_retries_end(scripted: Callable[..., ScriptedService], connect: Callable[..., Both]) -> None:
    service = scripted(DOWN)
    with pytest.raises(ServiceUnavailable) as down:
        connect(service.url, attempts=3).predict("t")
    assert len(service.requests) == 3
    assert down.value.problem.status == 503
    service = scripted(None)
    with pytest.raises(Unreachable):
        connect(service.url, attempts=2).predict("t")
    assert len(service.requests) == 2


def test_a_wait_above_the_limit_is_an_error_at_once(
    scripted: Callable[..., ScriptedService], connect: Callable[..., Both]
) -> None:
    service = scripted((429, {"Retry-After": "3600"}, b"not even JSON"))
    started = time.monotonic()
    with pytest.raises(ServiceUnavailable, match="429"):
        connect(service.url).predict("t")
    assert time.monotonic() - started < 2
    assert len(service.requests) == 1


def test_other_errors_are_not_retried(scripted: Callable[..., ScriptedService], connect: Callable[..., Both]) -> None:
    for status, error in ((422, RequestRefused), (500, ServiceUnavailable), (504, ServiceUnavailable)):
        service = scripted((status, {}, b"<html>a proxy's page</html>"))
        with pytest.raises(error, match="a proxy's page"):
            connect(service.url).predict("t")
        assert len(service.requests) == 1


def test_the_client_loads_neither_keras_nor_the_service() -> None:
    program = "import sys, service.client; print({'keras', 'tensorflow', 'fastapi', 'models'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"
