"""The limits of a connection, over raw sockets: memory, time, upgrades, trailers, and bytes that are no HTTP."""

import asyncio
import contextlib
import gc
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import structlog
from starlette.requests import Request
from starlette.responses import Response

from service.http import server
from service.http.app import create_app
from service.http.predict import unless_client_leaves
from service.http.protocol import MAX_HEAD_BYTES, MAX_HEADERS, LimitedProtocol
from service.http.schemas import Problem
from service.settings import Settings
from tests.service.running import AppClient, client_of

UVICORN = "0.54.0"
"""The version whose protocol and server our subclasses were written against: read them again before raising it."""

PROMPT = 20.0  # seconds: a test that waits so long for something has failed
H2C = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA"
OFFERS = [H2C, "Upgrade: TLS/1.0\r\nConnection: Upgrade", "Connection: upgrade\r\nUpgrade: websocket"]


async def echo(request: Request) -> Response:
    """Answer with what was read."""
    read = {"headers": dict(request.headers), "body": (await request.body()).decode("latin-1")}
    return Response(json.dumps(read), media_type="application/json")


async def large(request: Request) -> Response:
    return Response(b"x" * 8_000_000)


def app_client(settings: Settings, models_dir: Path, **changes: Any) -> Any:
    app = create_app(settings.model_copy(update={"models_dir": models_dir, **changes}))
    app.add_api_route("/echo", echo, methods=["POST"])
    app.add_api_route("/large", large)
    return client_of(app)


@pytest.fixture(scope="module")
def nothing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("no-models")


@pytest.fixture(scope="module")
def patient(settings: Settings, nothing: Path) -> Iterator[AppClient]:
    """A service with the default deadlines."""
    with app_client(settings, nothing) as client:
        yield client


@pytest.fixture(scope="module")
def hasty(settings: Settings, nothing: Path) -> Iterator[AppClient]:
    """A service with short deadlines."""
    with app_client(settings, nothing, head_seconds=0.3, body_seconds=0.3, write_seconds=0.3) as client:
        yield client


class Connection:
    """A connection to a service that sends bytes as they are and parses answers."""

    def __init__(self, client: AppClient, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PROMPT)
        self.socket.connect(("127.0.0.1", client.base_url.port))
        self._read = b""

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *exception: object) -> None:
        self.socket.close()

    def send(self, *parts: bytes) -> "Connection":
        for number, part in enumerate(parts):
            time.sleep(0.05 if number else 0)  # as a packet of its own
            self.socket.sendall(part)
        return self

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of the next answer."""
        while b"\r\n\r\n" not in self._read:
            self._receive()
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        size = int(headers["content-length"])
        while len(self._read) < size:
            self._receive()
        body, self._read = self._read[:size], self._read[size:]
        return int(status.split()[1]), headers, body

    def echoed(self) -> dict[str, Any]:
        status, _, body = self.answer()
        assert status == 200, body
        read: dict[str, Any] = json.loads(body)
        return read

    def problem(self, status: int) -> Problem:
        """Return the problem document of the next answer, after which the connection closes."""
        answered, headers, body = self.answer()
        assert answered == status, body
        assert headers["content-type"] == "application/problem+json"
        assert headers["connection"] == "close"
        assert re.fullmatch(r"[0-9a-f]{32}", headers["x-request-id"])
        self.assert_closed()
        return Problem.model_validate_json(body)

    def assert_closed(self) -> None:
        with contextlib.suppress(ConnectionResetError):
            assert self.socket.recv(1) == b""

    def _receive(self) -> None:
        received = self.socket.recv(65536)
        assert received, f"closed after {self._read!r}"
        self._read += received


def post(body: bytes = b"hello", headers: str = "", path: str = "/echo", chunked: bool = False) -> bytes:
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    content = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    lines = [f"POST {path} HTTP/1.1", "Host: here", framing, *([headers] if headers else [])]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + content


def counted(client: AppClient, route: str, status: int) -> float:
    pattern = rf'^heed_requests_total\{{.*route="{route}",status="{status}"\}} (\S+)$'
    return sum(float(value) for value in re.findall(pattern, client.app.state.metrics.render().decode(), re.MULTILINE))


def await_count(client: AppClient, route: str, status: int, expected: float) -> None:
    """Wait until so many are counted: that comes after the answer."""
    deadline = time.monotonic() + PROMPT
    while counted(client, route, status) < expected and time.monotonic() < deadline:
        time.sleep(0.01)
    assert counted(client, route, status) == expected


def resident_megabytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) // 1024


def test_uvicorn_is_the_version_that_our_subclasses_know() -> None:
    assert version("uvicorn") == UVICORN


CHUNKED = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
ENDLESS = {
    "address": (b"GET /", b"a" * 65536),
    "empty lines": (b"", b"\r\n" * 32768),
    "header": (b"GET /livez HTTP/1.1\r\nX-A: ", b"a" * 65536),
    "headers": (b"GET /livez HTTP/1.1\r\n", b"X-A: bcdefghijk\r\n" * 4096),
    "trailer": (CHUNKED + b"0\r\nX-A: ", b"a" * 65536),
    "trailers": (CHUNKED + b"0\r\n", b"X-A: bcdefghijk\r\n" * 4096),
    "chunk extension": (CHUNKED + b"5;", b"a" * 65536),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_431_what_never_ends_is_refused_and_not_kept(patient: AppClient, kind: str) -> None:
    start, unit = ENDLESS[kind]
    before = resident_megabytes()
    with Connection(patient) as connection:
        connection.send(start)
        try:
            for _ in range(800):  # 50 MB
                connection.socket.sendall(unit)
        except (BrokenPipeError, ConnectionResetError):
            assert kind  # refused meanwhile
        else:
            assert connection.problem(431).detail.startswith("Expected a head, and trailers, of at most 65,536 bytes")
    assert resident_megabytes() - before < 40


def test_431_is_counted_and_can_be_read(patient: AppClient) -> None:
    before = counted(patient, "unparsed", 431)
    with Connection(patient) as connection:
        connection.send(b"GET /livez HTTP/1.1\r\nX-A: " + b"a" * (MAX_HEAD_BYTES + 5000))
        assert connection.problem(431).type == "urn:heed:problem:head-too-large"
    await_count(patient, "unparsed", 431, before + 1)
    before = counted(patient, "/echo", 431)
    with Connection(patient) as connection:
        connection.send(CHUNKED + b"0\r\nX-A: " + b"a" * (MAX_HEAD_BYTES + 5000))
        connection.problem(431)
    await_count(patient, "/echo", 431, before + 1)


def test_what_is_within_the_limits_is_read(patient: AppClient) -> None:
    with Connection(patient) as connection:
        connection.send(post(headers="X-Long: " + "a" * 60_000))
        assert len(connection.echoed()["headers"]["x-long"]) == 60_000
        connection.send(post(headers="\r\n".join(f"X-{number}: 1" for number in range(MAX_HEADERS - 2))))
        assert connection.echoed()["body"] == "hello"
        tiny = b"1\r\na\r\n" * 200_000
        connection.send(post(chunked=True).partition(b"5\r\n")[0] + tiny + b"0\r\n\r\n")
        assert connection.echoed()["body"] == "a" * 200_000
        connection.send(post(headers="\r\n".join(f"X-{number}: 1" for number in range(MAX_HEADERS - 1))))
        connection.problem(431)


def test_pipelined_requests_are_answered_in_order(patient: AppClient) -> None:
    with Connection(patient) as connection:
        connection.send(b"".join(post(b"%d" % number) for number in range(300)))
        assert [connection.echoed()["body"] for _ in range(300)] == [str(number) for number in range(300)]


def test_nothing_is_read_from_a_client_that_reads_no_answers(patient: AppClient) -> None:
    before = resident_megabytes()
    request = post(b"x" * 2000)
    with Connection(patient) as connection:
        connection.socket.settimeout(1)
        sent = send_until_blocked(connection, request, at_most=200_000_000)
        assert sent < 200_000_000
        assert resident_megabytes() - before < 40
        connection.socket.settimeout(PROMPT)
        for _ in range(sent // len(request)):
            assert connection.echoed()["body"] == "x" * 2000


def send_until_blocked(connection: Connection, request: bytes, at_most: int) -> int:
    sent, many = 0, request * 100
    with contextlib.suppress(TimeoutError):
        while sent < at_most:
            sent += connection.socket.send(many[sent % len(request) :])
    return sent


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("chunked", [False, True])
def test_a_request_that_offers_an_upgrade_is_answered_as_if_it_had_not(
    patient: AppClient, caplog: pytest.LogCaptureFixture, offer: str, chunked: bool
) -> None:
    body = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"  # must never be taken for a request
    offering = post(body, offer, chunked=chunked)
    plain = post(b"plain")
    with caplog.at_level(logging.WARNING):
        for cut in (len(offering), offering.index(b"\r\n\r\n") + 4, offering.index(b"\r\n\r\n") + 20, 30):
            with Connection(patient) as connection:
                connection.send(offering[:cut], offering[cut:] + offering + plain)
                answers = [connection.echoed()["body"] for _ in range(3)]
            assert answers == [body.decode(), body.decode(), "plain"]
        with Connection(patient) as connection:
            get = f"GET /livez HTTP/1.1\r\nHost: x\r\n{offer}\r\n\r\n".encode()
            connection.send(get + get + plain, plain)
            assert [connection.answer()[0] for _ in range(4)] == [200] * 4
    assert not caplog.records


def test_trailers_are_no_headers(patient: AppClient) -> None:
    trailing = post(chunked=True)[:-2] + b"X-API-Key: secret\r\nContent-Type: text/plain\r\n\r\n"
    for parts in ((trailing + post(),), (trailing, post())):
        with Connection(patient) as connection:
            connection.send(*parts)
            for _ in range(2):
                assert connection.echoed()["headers"].keys() <= {"host", "transfer-encoding", "content-length"}


def test_a_key_in_a_trailer_opens_nothing(settings: Settings, nothing: Path) -> None:
    with app_client(settings, nothing, api_keys=Settings(api_keys="secret").api_keys) as client:
        models = b"GET /models HTTP/1.1\r\nHost: x\r\n"
        with Connection(client) as connection:
            connection.send(models + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-API-Key: secret\r\n\r\n")
            assert connection.answer()[0] == 401
            connection.send(models + b"X-API-Key: secret\r\n\r\n")
            assert connection.answer()[0] == 200


@pytest.mark.parametrize("nonsense", [b"nonsense\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET /\xff HTTP/1.1\r\n\r\n"])
def test_400_bytes_that_are_no_http_get_a_problem_document_and_are_counted(patient: AppClient, nonsense: bytes) -> None:
    before = counted(patient, "unparsed", 400)
    with Connection(patient) as connection:
        assert connection.send(nonsense).problem(400).type == "urn:heed:problem:malformed-request"
    await_count(patient, "unparsed", 400, before + 1)


def test_400_a_body_that_breaks_off_in_nonsense(patient: AppClient) -> None:
    before = counted(patient, "/echo", 400)
    with Connection(patient) as connection:
        connection.send(CHUNKED, b"no length\r\n").problem(400)
    await_count(patient, "/echo", 400, before + 1)


def test_requests_before_nonsense_are_answered(patient: AppClient) -> None:
    with Connection(patient) as connection:
        connection.send(post(b"one") + post(b"two") + b"nonsense\r\n\r\n")
        assert [connection.echoed()["body"] for _ in range(2)] == ["one", "two"]
        connection.assert_closed()


def test_408_a_head_or_a_body_that_takes_too_long(hasty: AppClient) -> None:
    with Connection(hasty) as connection:
        assert "whole head within 0.3 seconds" in connection.send(b"GET /livez HT").problem(408).detail
    before = counted(hasty, "/echo", 408)
    with Connection(hasty) as connection:
        assert "whole body within 0.3 seconds" in connection.send(post()[:-1]).problem(408).detail
    await_count(hasty, "/echo", 408, before + 1)
    with Connection(hasty) as connection:  # a second request has its own deadline
        connection.send(post()).echoed()
        connection.send(post()[:20]).problem(408)


def test_a_connection_without_a_request_is_closed_without_a_word(hasty: AppClient) -> None:
    with Connection(hasty) as connection:
        connection.assert_closed()
    with Connection(hasty) as connection:  # answered before its body came, which it then finishes
        body = post(path="/livez")
        assert connection.send(body[:-1]).answer()[0] == 405
        connection.send(body[-1:]).assert_closed()


def test_a_client_that_does_not_take_its_answer_is_dropped(hasty: AppClient) -> None:
    with Connection(hasty, receive_buffer=4096) as connection:
        connection.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        assert_ends_early(connection)


def test_the_slowest_clients_are_dropped_when_too_much_is_unsent(
    patient: AppClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_UNSENT_BYTES", 1_000_000)
    with Connection(patient, receive_buffer=4096) as connection:
        connection.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        assert_ends_early(connection)


def assert_ends_early(connection: Connection) -> None:
    time.sleep(2.5)
    received = 0
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.socket.recv(65536):
            received += len(piece)
    assert received < 8_000_000


def test_beyond_the_limit_the_connection_that_waited_longest_makes_room(settings: Settings, nothing: Path) -> None:
    with app_client(settings, nothing, max_connections=5) as client:
        connections = [Connection(client) for _ in range(3)]
        for slow in connections:
            slow.send(b"GET /livez HT")
            time.sleep(0.02)
        for _ in range(20):
            with Connection(client) as another:
                assert another.send(post()).echoed()["body"] == "hello"
        crowd = [Connection(client).send(b"GET /livez HT") for _ in range(5)]
        connections[0].assert_closed()
        with Connection(client) as another:
            assert another.send(post()).echoed()["body"] == "hello"
        for each in [*connections, *crowd]:
            each.socket.close()


def test_beyond_the_limit_no_request_loses_its_answer(settings: Settings, nothing: Path) -> None:
    entered, released = threading.Semaphore(0), threading.Event()

    async def slow(request: Request) -> Response:
        entered.release()
        await asyncio.to_thread(released.wait, PROMPT)
        return await echo(request)

    app = create_app(settings.model_copy(update={"models_dir": nothing, "max_connections": 2}))
    app.add_api_route("/slow", slow, methods=["POST"])
    with client_of(app) as client, contextlib.ExitStack() as open_connections:
        try:
            connections = [open_connections.enter_context(Connection(client)) for _ in range(4)]
            for connection in connections:
                connection.send(post(path="/slow"))
                assert entered.acquire(timeout=PROMPT)
            time.sleep(0.3)  # for the limit to be enforced
        finally:
            released.set()
        assert [connection.echoed()["body"] for connection in connections] == ["hello"] * 4


def test_work_for_a_client_that_leaves_is_cancelled(settings: Settings, nothing: Path) -> None:
    begun, cancelled = threading.Event(), threading.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.sleep(PROMPT)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def slow(request: Request) -> Response:
        await request.body()
        await unless_client_leaves(request, work())
        raise AssertionError

    app = create_app(settings.model_copy(update={"models_dir": nothing}))
    app.add_api_route("/slow", slow, methods=["POST"])
    with client_of(app) as client:
        with Connection(client) as connection:
            connection.send(post(path="/slow"))
            assert begun.wait(PROMPT)
        assert cancelled.wait(PROMPT)


@pytest.mark.parametrize(
    ("host", "keys", "warned"), [("0.0.0.0", "", True), ("0.0.0.0", "one", False), ("127.0.0.1", "", False)]
)
def test_a_service_that_is_open_to_others_says_so_at_the_start(
    monkeypatch: pytest.MonkeyPatch, host: str, keys: str, warned: bool
) -> None:
    class Server:
        started = True

        def run(self) -> None:
            pass

    for name in ("configure_logging", "prepare_process", "create_app", "_end"):
        monkeypatch.setattr(server, name, lambda argument: None)
    monkeypatch.setattr(server, "server_of", lambda app: Server())
    monkeypatch.setattr(server, "log", structlog.get_logger("heed"))
    with structlog.testing.capture_logs() as lines:
        server.serve(Settings(host=host, **({"api_keys": keys} if keys else {})))
    assert any("open without keys" in line["event"] for line in lines) is warned


@pytest.fixture
def full(patient: AppClient) -> Iterator[AppClient]:
    """A service that admits no prediction."""
    admission = patient.app.state.registry.admission
    admission.expected_tokens = 10**9
    yield patient
    assert admission.expected_tokens == 10**9, "a refused request is not expected"
    admission.expected_tokens = 0


@pytest.mark.parametrize("chunked", [False, True])
def test_a_full_service_refuses_from_the_head_and_skips_the_body(full: AppClient, chunked: bool) -> None:
    head, body = post(b'{"text": "Fine."}', "X-Request-Id: mine", "/predict", chunked).split(b"\r\n\r\n", 1)
    with Connection(full) as connection:
        status, headers, document = connection.send(head + b"\r\n\r\n").answer()
        assert (status, headers["x-request-id"], headers["retry-after"]) == (429, "mine", "1")
        assert Problem.model_validate_json(document).instance == "/predict"
        assert connection.send(body[:5], body[5:], post()).echoed()["body"] == "hello"


def test_refusals_keep_the_order_of_pipelined_requests(full: AppClient) -> None:
    refused = post(b'{"text": "Fine."}', path="/predict")
    with Connection(full) as connection:
        connection.send((post(b"a") + refused * 3) * 60 + post(b"b"))
        for _ in range(60):
            assert connection.echoed()["body"] == "a"
            assert [connection.answer()[0] for _ in range(3)] == [429] * 3
        assert connection.echoed()["body"] == "b"


def test_a_refusal_closes_the_connection_where_the_client_asks_for_it(full: AppClient) -> None:
    with Connection(full) as connection:
        status, headers, _ = connection.send(post(b"{}", "Connection: close", "/predict")).answer()
        assert (status, headers["connection"]) == (429, "close")
        connection.assert_closed()


def test_a_full_service_refuses_a_browser_with_the_headers_that_let_it_read_why(
    settings: Settings, nothing: Path
) -> None:
    with app_client(settings, nothing, cors_origins=["https://here.example"]) as client:
        client.app.state.registry.admission.expected_tokens = 10**9
        head = post(b"never sent", "Origin: https://here.example", "/predict").removesuffix(b"never sent")
        with Connection(client) as connection:
            status, headers, document = connection.send(head).answer()
        assert (status, headers["access-control-allow-origin"]) == (429, "https://here.example")
        assert Problem.model_validate_json(document).type == "urn:heed:problem:overloaded"


def test_requests_are_expected_until_they_are_answered(patient: AppClient) -> None:
    with Connection(patient) as connection:
        assert [connection.send(post(b"{}", path="/predict")).answer()[0] for _ in range(2)] == [415, 415]
        connection.send(post(b"x" * 5000, path="/predict")[:200])
        assert connection.answer()[0] == 415
    deadline = time.monotonic() + PROMPT
    while patient.app.state.registry.admission.expected_tokens and time.monotonic() < deadline:
        time.sleep(0.01)
    assert patient.app.state.registry.admission.expected_tokens == 0


def test_a_closed_connection_leaves_nothing_to_the_garbage_collector(full: AppClient) -> None:
    def connections() -> int:
        return sum(isinstance(each, LimitedProtocol) for each in gc.get_objects())

    refused = post(b"{}", path="/predict")
    gc.collect()
    gc.disable()
    try:
        before = connections()
        for last in (refused, post()):
            for _ in range(5):
                with Connection(full) as connection:
                    for request in (refused, post(), last):
                        connection.send(request).answer()
        deadline = time.monotonic() + PROMPT
        while connections() > before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert connections() <= before
    finally:
        gc.enable()
