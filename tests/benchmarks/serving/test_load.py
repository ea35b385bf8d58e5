"""The load generator: when requests are due, what a latency is, and that no answer is lost."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.serving.load.connection import LOST, Connection
from benchmarks.serving.load.generator import AT_ONCE_SECONDS, closed_loop, open_loop, poisson
from benchmarks.serving.load.requests import Target, heed_body
from benchmarks.serving.load.samples import Samples, figures, percentile

STALL_SECONDS = 0.4


class _Answers(BaseHTTPRequestHandler):
    """Answers "stall" late, "wait" once "release" has come, "close" never, "refuse" with 429, all else at once."""

    protocol_version = "HTTP/1.1"
    released = threading.Event()

    def do_POST(self) -> None:
        text = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"]
        if text == "close":
            self.close_connection = True
            return
        if text == "stall":
            time.sleep(STALL_SECONDS)
        if text == "release":
            self.released.set()
        if text == "wait" and not self.released.wait(30):
            return
        body = json.dumps({"echo": text}).encode()
        self.send_response(429 if text == "refuse" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield Target("127.0.0.1", server.server_address[1], "/predict", heed_body)
    server.shutdown()
    server.server_close()
    thread.join()


class _Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.written.append(data)

    def close(self) -> None:
        self.closed = True


def _answer(status: int, body: bytes, *, chunked: bool, close: bool = False) -> bytes:
    head = f"HTTP/1.1 {status} Some Reason\r\nServer: some\r\n" + ("Connection: close\r\n" if close else "")
    if chunked:
        parts = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:]) if part)
        return head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + parts + b"0\r\n\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


@given(
    answers=st.lists(st.tuples(st.sampled_from([200, 429, 504]), st.binary(max_size=60), st.booleans()), min_size=1),
    sizes=st.lists(st.integers(1, 40), min_size=1),
)
def test_answers_are_read_whole_however_they_are_cut(answers: list[tuple[int, bytes, bool]], sizes: list[int]) -> None:
    heard: list[int] = []
    connection = Connection(lambda _, status: heard.append(status))
    connection.connection_made(_Transport())
    for number, (status, body, chunked) in enumerate(answers):
        connection.send(b"request")
        whole, size = _answer(status, body, chunked=chunked), sizes[number % len(sizes)]
        for start in range(0, len(whole), size):
            assert len(heard) == number  # not answered before its last byte
            connection.data_received(whole[start : start + size])
    assert heard == [status for status, _, _ in answers]


def test_a_connection_says_when_its_request_is_lost_and_carries_one_at_a_time() -> None:
    heard: list[int] = []
    connection = Connection(lambda _, status: heard.append(status))
    with pytest.raises(RuntimeError, match="closed or busy"):
        connection.send(b"request")
    connection.connection_made(_Transport())
    connection.send(b"request")
    with pytest.raises(RuntimeError, match="closed or busy"):
        connection.send(b"request")
    connection.connection_lost(None)
    assert heard == [LOST]
    assert not connection.open


def test_a_connection_that_the_server_closes_is_used_no_more() -> None:
    transport = _Transport()
    heard: list[bool] = []
    connection = Connection(lambda this, status: heard.append(this.open))
    connection.connection_made(transport)
    connection.send(b"request")
    connection.data_received(_answer(200, b"x", chunked=False, close=True))
    assert heard == [False]
    assert transport.closed


def test_what_is_no_http_ends_the_connection() -> None:
    transport = _Transport()
    connection = Connection(lambda *_: None)
    connection.connection_made(transport)
    connection.send(b"request")
    connection.data_received(b"no such protocol\r\n\r\n")
    assert transport.closed


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.1, 100))
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(values: list[float], share: float) -> None:
    found = percentile(np.array(values), share)
    assert found in values
    assert sum(value <= found for value in values) >= share / 100 * len(values) - 1e-9
    assert sum(value < found for value in values) < share / 100 * len(values) + 1e-9


def test_figures_are_of_accepted_answers_and_those_in_time_make_the_rate() -> None:
    samples = Samples(
        due=np.array([0.0, 0.5, 1.0, 1.9]),
        ended=np.array([0.1, 0.8, 1.5, 2.9]),
        status=np.array([200, 429, 200, 200]),
        request=np.arange(4),
    )
    told = figures(samples, 2.0)
    assert told["requests_per_second"] == 1.0
    assert told["p50_ms"] == pytest.approx(500)
    assert told["max_ms"] == pytest.approx(1000)  # came after the end, and counts
    assert told["statuses"] == {"200": 3, "429": 1}


def test_the_same_seed_gives_the_same_arrivals_at_the_rate() -> None:
    due = poisson(200.0, 50.0, seed=3)
    assert np.array_equal(due, poisson(200.0, 50.0, seed=3))
    assert not np.array_equal(due[:100], poisson(200.0, 50.0, seed=4)[:100])
    assert (np.diff(due) >= 0).all()
    assert due[0] >= 0
    assert due[-1] < 50
    assert len(due) == pytest.approx(10_000, rel=0.05)
    gaps = np.diff(due)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)  # exponential gaps


def test_closed_loop_sends_the_requests_in_turn_and_reads_every_answer(target: Target) -> None:
    outcome = closed_loop(target, target.requests(["one", "two", "refuse"]), connections=3, seconds=0.5)
    samples = outcome.samples
    assert set(samples.status[samples.request == 2]) == {429}
    assert set(samples.status[samples.request != 2]) == {200}
    assert (samples.latencies > 0).all()
    assert outcome.own_cpu_seconds > 0


def test_closed_loop_goes_on_after_a_lost_connection(target: Target) -> None:
    samples = closed_loop(target, target.requests(["one", "close"]), connections=2, seconds=1.0).samples
    assert set(samples.status[samples.request == 1]) == {LOST}
    assert set(samples.status[samples.request == 0]) == {200}
    assert len(samples.status) > 2


def test_open_loop_counts_from_when_a_request_was_due(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """One connection, whose first request stalls: those that were due meanwhile are late by what is left of it."""
    monkeypatch.setattr("benchmarks.serving.load.generator.MOST_CONNECTIONS", 1)
    due = np.array([0.0, 0.1, 0.2])
    samples = open_loop(target, target.requests(["stall", "one", "two"]), due, seconds=0.5).samples
    assert samples.request.tolist() == [0, 1, 2]
    assert samples.due == pytest.approx(due, abs=AT_ONCE_SECONDS)
    assert (samples.latencies > STALL_SECONDS - due - 0.01).all()


def test_open_loop_does_not_wait_for_answers_where_connections_are_free(target: Target) -> None:
    """The first request is answered only once the last one is."""
    due = np.array([0.0, 0.1, 0.2])
    samples = open_loop(target, target.requests(["wait", "one", "release"]), due, seconds=0.3).samples
    assert sorted(samples.request) == [0, 1, 2]
    assert set(samples.status) == {200}


def test_open_loop_never_counts_from_later_than_a_request_was_due(target: Target) -> None:
    due = np.arange(0, 0.2, 0.0002)
    samples = open_loop(target, target.requests(["one"]), due, seconds=0.3).samples
    early = due - np.sort(samples.due)
    assert len(samples.due) == len(due)
    assert early.min() > -1e-9
    assert early.max() <= AT_ONCE_SECONDS + 1e-9


def test_open_loop_counts_what_nobody_listens_to_as_lost() -> None:
    target = Target("127.0.0.1", 1, "/predict", heed_body)
    samples = open_loop(target, target.requests(["one"]), np.array([0.0, 0.05]), seconds=0.1).samples
    assert samples.status.tolist() == [LOST, LOST]


def test_a_target_needs_a_plain_url() -> None:
    assert Target.at("http://localhost:80/", "/predict", heed_body)[:3] == ("localhost", 80, "/predict")
    with pytest.raises(ValueError, match="Expected a URL"):
        Target.at("https://localhost", "/predict", heed_body)


def test_a_connection_that_was_idle_for_long_is_not_used_again(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Connection] = []

    class Counted(Connection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            opened.append(self)
            super().connection_made(transport)

    monkeypatch.setattr("benchmarks.serving.load.generator.Connection", Counted)
    monkeypatch.setattr("benchmarks.serving.load.generator.IDLE_SECONDS", 0.0)
    samples = open_loop(target, target.requests(["one"]), np.array([0.0, 0.1, 0.2]), seconds=0.3).samples
    assert set(samples.status) == {200}
    assert len(opened) == 3
