"""Sends requests in closed loop, where each connection waits for its answer, or in open loop, at given moments.

In open loop a request that no connection was free for at its moment waits for one, and its latency counts from that
moment: a server that stalls is charged for all that was due meanwhile (no coordinated omission).
"""

import asyncio
import gc
import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import NamedTuple

import numpy as np
import uvloop

from benchmarks.serving.load.connection import LOST, Connection
from benchmarks.serving.load.requests import Target
from benchmarks.serving.load.samples import Samples

MOST_CONNECTIONS = 2048
LAST_ANSWERS_SECONDS = 60.0
"""How long after the end of a run answers are waited for."""
IDLE_SECONDS = 2.0
"""A connection that was idle for longer is not used again, as in clients' pools: the server may be closing it."""
AT_ONCE_SECONDS = 0.0005
"""In open loop what is due within so many seconds is sent now, and counts from now: the event loop's clock has ticks of
a millisecond, and would not sleep for less, but spin."""
_KEEP_EVERY = 499


class Outcome(NamedTuple):
    """What a run of load gave.

    Attributes:
        samples: the requests.
        seconds: length of the run, without the wait for the last answers.
        bodies: some answers with 200, with the number of the prepared request that each belongs to.
        own_cpu_seconds: what the generator itself spent, the wait for the last answers included.
    """

    samples: Samples
    seconds: float
    bodies: list[tuple[int, bytes]]
    own_cpu_seconds: float


def closed_loop(target: Target, requests: Sequence[bytes], *, connections: int, seconds: float) -> Outcome:
    """Keep one request under way on each of `connections`, for `seconds`."""
    with _without_garbage_collection():
        return uvloop.run(_Run(target, requests).closed(connections, seconds))


def open_loop(
    target: Target, requests: Sequence[bytes], due: np.ndarray, *, seconds: float, rest: float = 0.0
) -> Outcome:
    """Send requests at the moments float64[requests] `due`, seconds from the start, whatever became of the others.

    Args:
        target: where to.
        requests: prepared ones, sent in turn.
        due: in rising order.
        seconds: length of the run.
        rest: where requests are due one after the other within so many seconds, the generator sleeps as long between
            two looks at the time and at what came in, in place of waking up for each: thousands of times a second that
            would take the cores from what it measures. Latencies still count from when a request was due.
    """
    with _without_garbage_collection():
        return uvloop.run(_Run(target, requests).at_moments(due, seconds, rest))


class _Run:
    """One run: which request is under way on which connection, and what came back. The prepared requests take turns."""

    def __init__(self, target: Target, requests: Sequence[bytes]) -> None:
        if not requests:
            raise ValueError("Expected at least one request to send. Received none.")
        self._target = target
        self._requests = requests
        self._numbers = count()
        self._under_way: dict[Connection, tuple[float, int]] = {}
        self._idle: list[tuple[Connection, float]] = []  # with the moment since when
        self._waiting: deque[tuple[float, int]] = deque()
        self._connections = 0
        self._rows: list[tuple[float, float, int, int]] = []
        self._bodies: list[tuple[int, bytes]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = 0.0
        self._ends = 0.0
        self._closed_loop = False

    async def closed(self, connections: int, seconds: float) -> Outcome:
        self._closed_loop = True
        opened = [await self._connect() for _ in range(connections)]
        cpu = self._begin(seconds)
        for connection in opened:
            self._send(connection, time.perf_counter(), self._next())
        await asyncio.sleep(seconds)
        return await self._finish(seconds, cpu)

    async def at_moments(self, due: np.ndarray, seconds: float, rest: float) -> Outcome:
        cpu = self._begin(seconds)
        last = -math.inf
        for moment in (self._started + due).tolist():
            while (ahead := moment - time.perf_counter()) > AT_ONCE_SECONDS:  # its timers may be early by a tick
                if moment - last > rest:
                    await asyncio.sleep(ahead)
                else:
                    time.sleep(rest)  # and not the event loop, which would wake up for all that comes in
                    await asyncio.sleep(0)
            self._dispatch(min(moment, time.perf_counter()), self._next())
            last = moment
        await asyncio.sleep(max(0.0, self._ends - time.perf_counter()))
        return await self._finish(seconds, cpu)

    def _begin(self, seconds: float) -> float:
        self._started = time.perf_counter()
        self._ends = self._started + seconds
        return time.process_time()

    async def _finish(self, seconds: float, cpu: float) -> Outcome:
        given_up = time.perf_counter() + LAST_ANSWERS_SECONDS
        while (self._under_way or self._waiting or self._tasks) and time.perf_counter() < given_up:
            await asyncio.sleep(0.01)
        self._waiting.clear()
        for connection in [*self._under_way, *(idle for idle, _ in self._idle)]:
            connection.close()
        await asyncio.sleep(0.01)  # what is under way yet is lost now
        rows = np.array(self._rows, dtype=np.float64).reshape(-1, 4)
        samples = Samples(
            rows[:, 0] - self._started, rows[:, 1] - self._started, rows[:, 2].astype(int), rows[:, 3].astype(int)
        )
        return Outcome(samples, seconds, self._bodies, time.process_time() - cpu)

    def _next(self) -> int:
        return next(self._numbers)

    def _dispatch(self, due: float, number: int) -> None:
        oldest = time.perf_counter() - IDLE_SECONDS
        while self._idle:
            connection, since = self._idle.pop()
            if connection.open and since > oldest:
                self._send(connection, due, number)
                return
            self._connections -= 1
            connection.close()
        self._waiting.append((due, number))
        if self._connections < MOST_CONNECTIONS:
            self._spawn_connection()

    def _send(self, connection: Connection, due: float, number: int) -> None:
        self._under_way[connection] = (due, number)
        connection.send(self._requests[number % len(self._requests)], keep_body=number % _KEEP_EVERY == 0)

    def _answered(self, connection: Connection, status: int, body: bytes | None) -> None:
        now = time.perf_counter()
        due, number = self._under_way.pop(connection)
        request = number % len(self._requests)
        self._rows.append((due, now, status, request))
        if body is not None and status == 200:
            self._bodies.append((request, body))
        if not connection.open:
            self._connections -= 1
            if self._closed_loop and now < self._ends:
                self._waiting.append((now, self._next()))
            if self._waiting:
                self._spawn_connection()
        else:
            self._use(connection, now)

    def _use(self, connection: Connection, now: float) -> None:
        """Give a free connection its next request, if there is one."""
        if self._waiting:
            self._send(connection, *self._waiting.popleft())
        elif self._closed_loop and now < self._ends:
            self._send(connection, now, self._next())
        else:
            self._idle.append((connection, now))

    def _spawn_connection(self) -> None:
        self._connections += 1
        task = asyncio.get_running_loop().create_task(self._open_another())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open_another(self) -> None:
        try:
            connection = await self._connect()
        except OSError:  # the request at the front of those that wait is the one that got no connection
            self._connections -= 1
            now = time.perf_counter()
            if self._waiting:
                due, number = self._waiting.popleft()
                self._rows.append((due, now, LOST, number % len(self._requests)))
            return
        self._use(connection, time.perf_counter())

    async def _connect(self) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(self._answered), self._target.host, self._target.port
        )
        return connection


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """A collection in the middle of a run would be taken for the server's latency; a run makes no cycles."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
