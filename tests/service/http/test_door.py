"""The door of a full service, over real sockets."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from service.http.app import create_app
from service.http.door import door_of
from service.inference.errors import Overloaded
from service.inference.queue import Admission
from service.settings import Settings

BODY = json.dumps({"text": "A wonderful, moving film."}).encode()


class Full:
    """Whether the queue of every model is full."""

    def __init__(self) -> None:
        self.now = False
        self.most_coming = 0

    def refuse(self, coming: int) -> None:
        self.most_coming = max(self.most_coming, coming)
        if self.now:
            raise Overloaded(2.5)


@pytest.fixture(scope="module")
def full() -> Iterator[Full]:
    full = Full()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Admission, "refuse_if_full", lambda admission, tokens=1: full.refuse(tokens))
        yield full


@pytest.fixture(scope="module")
def server(full: Full, settings: Settings) -> Iterator[uvicorn.Server]:
    app = create_app(settings)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False, http=door_of(app)))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not app.state.registry.started:
        time.sleep(0.01)
    yield server
    server.should_exit = True
    thread.join(timeout=60)


@pytest.fixture
def connection(server: uvicorn.Server, full: Full) -> Iterator[socket.socket]:
    full.now = True
    with socket.create_connection(server.servers[0].sockets[0].getsockname(), timeout=20) as connection:
        yield connection


def request(body: bytes = BODY, headers: str = "", path: str = "/predict") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return (head + headers + "\r\n").encode() + body


def answer(connection: socket.socket) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Status, headers and document of the next answer."""
    read = b""
    while b"\r\n\r\n" not in read:
        read += connection.recv(1)
    status, *lines = read.decode().strip().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    body = b""
    while len(body) < int(headers["content-length"]):
        body += connection.recv(int(headers["content-length"]) - len(body))
    return int(status.split()[1]), headers, json.loads(body)


def is_of_the_door(headers: dict[str, str]) -> bool:
    """Whether the parser had no part in it: uvicorn puts the date before all other headers."""
    return next(iter(headers)) == "retry-after"


def test_it_answers_as_the_route_does(connection: socket.socket) -> None:
    connection.sendall(request(headers="X-Request-Id: abc\r\n"))
    status, headers, document = answer(connection)
    assert is_of_the_door(headers)
    connection.sendall(request(b'{"model": "default", "text": "Fine."}', "X-Request-Id: abc\r\n"))
    status_of_route, headers_of_route, document_of_route = answer(connection)
    assert not is_of_the_door(headers_of_route)
    assert status == status_of_route == 429
    assert document == document_of_route
    assert {name: headers[name] for name in headers if name != "date"} == {
        name: headers_of_route[name] for name in headers_of_route if name != "date"
    }
    assert headers["retry-after"] == "3"
    assert headers["x-request-id"] == "abc"


def test_the_connection_goes_on(connection: socket.socket, full: Full) -> None:
    for _ in range(3):
        connection.sendall(request(headers="Connection: keep-alive\r\n"))
        status, headers, _ = answer(connection)
        assert (status, is_of_the_door(headers)) == (429, True)
    full.now = False
    connection.sendall(request())
    status, _, document = answer(connection)
    assert status == 200
    assert document["predictions"]
    full.now = True
    connection.sendall(request())
    assert answer(connection)[0] == 429


def test_it_knows_how_much_is_inside(server: uvicorn.Server, full: Full) -> None:
    full.now, full.most_coming = False, 0
    body = json.dumps({"text": "A wonderful, moving film. " * 40}).encode()
    address = server.servers[0].sockets[0].getsockname()
    connections = [socket.create_connection(address, timeout=20) for _ in range(20)]
    for _ in range(2):
        for connection in connections:
            connection.sendall(request(body))
        assert [answer(connection)[0] for connection in connections] == [200] * 20
    assert len(body) // 5 <= full.most_coming <= 20 * len(request(body)) // 5
    connections[0].sendall(request(body))
    connections[0].close()  # a client that leaves is let out, too
    full.most_coming = 0
    connections[1].sendall(request(body))
    assert answer(connections[1])[0] == 200
    assert full.most_coming <= 2 * len(request(body)) // 5
    for connection in connections:
        connection.close()


@pytest.mark.parametrize("cut", [5, 30, len(request()) - 3])
def test_a_request_in_two_pieces_is_the_parsers_and_gets_one_answer(connection: socket.socket, cut: int) -> None:
    connection.sendall(request()[:cut])
    time.sleep(0.1)
    connection.sendall(request()[cut:])
    status, headers, _ = answer(connection)
    assert status == 429
    assert not is_of_the_door(headers)
    connection.sendall(request())
    assert is_of_the_door(answer(connection)[1])


def test_a_body_that_looks_like_a_request_is_not_taken_for_one(connection: socket.socket) -> None:
    whole = request(request())
    connection.sendall(whole[: -len(request())])
    time.sleep(0.1)
    connection.sendall(request())  # the body of the first
    status, headers, _ = answer(connection)
    assert status == 400  # it is no JSON
    assert not is_of_the_door(headers)
    connection.sendall(request())
    assert answer(connection)[0] == 429


@pytest.mark.parametrize("together", [request() + request(), request() + request()[:40]])
def test_requests_that_come_together_are_the_parsers(connection: socket.socket, together: bytes) -> None:
    connection.sendall(together)
    status, headers, _ = answer(connection)
    assert status == 429
    assert not is_of_the_door(headers)
    connection.sendall((request() + request())[len(together) :])
    assert answer(connection)[0] == 429


@pytest.mark.parametrize(
    "special", ["Connection: close\r\n", "Content-Length: 0\r\n", "Transfer-Encoding: identity\r\n", "Upgrade: h2c\r\n"]
)
def test_what_is_special_is_the_parsers(connection: socket.socket, special: str) -> None:
    connection.sendall(request(headers=special))
    answered = connection.recv(65536).decode().lower()
    assert not answered.split("\r\n", 1)[1].startswith("retry-after")


def test_who_does_not_read_is_the_parsers(connection: socket.socket, server: uvicorn.Server) -> None:
    """Its answers would fill the memory, one for each request that it sends."""
    connection.sendall(request())
    assert is_of_the_door(answer(connection)[1])
    [protocol] = [each for each in server.server_state.connections if each.client == connection.getsockname()[:2]]
    paused = threading.Event()
    protocol.loop.call_soon_threadsafe(lambda: (protocol.pause_writing(), paused.set()))  # as a full transport does
    assert paused.wait(20)
    connection.sendall(request())
    connection.settimeout(0.3)
    with pytest.raises(TimeoutError):
        connection.recv(1)
    connection.settimeout(20)
    protocol.loop.call_soon_threadsafe(protocol.resume_writing)
    status, headers, _ = answer(connection)
    assert (status, is_of_the_door(headers)) == (429, False)


def test_other_routes_are_open_and_the_refused_are_counted(connection: socket.socket, server: uvicorn.Server) -> None:
    connection.sendall(b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n")
    assert answer(connection)[0] == 200
    counter = server.config.app.state.metrics.requests.labels("/predict", "POST", "429")  # type: ignore[union-attr]
    before = counter._value.get()
    connection.sendall(request())
    assert answer(connection)[0] == 429
    assert counter._value.get() == before + 1


def test_work_for_a_client_that_leaves_is_cancelled(
    connection: socket.socket, full: Full, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, cancelled = threading.Event(), threading.Event()

    async def work(*arguments: Any, **options: Any) -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    monkeypatch.setattr("service.http.predict.classify", work)
    full.now = False
    connection.sendall(request())
    assert begun.wait(10)
    connection.close()
    assert cancelled.wait(10)
