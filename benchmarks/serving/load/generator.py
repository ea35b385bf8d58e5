"""Send requests in closed loop, where each connection waits for its answer, or in open loop, at given times.

In open loop, latency counts from when a request was due, even if it had to wait for a free connection: a server that
stalls is charged for all requests that were due meanwhile (no coordinated omission).
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
"""How long to wait for answers after the end of a run."""
IDLE_SECONDS = 2.0
"""A connection that was idle for longer is not reused, because the server may be closing it."""
AT_ONCE_SECONDS = 0.0005
"""In open loop, requests that are due this soon are sent now, and count from now: the event loop cannot sleep for
less than a millisecond."""


class Outcome(NamedTuple):
    """Result of a run.

    Attributes:
        samples: all requests.
        seconds: length of the run, without the wait for the last answers.
        own_cpu_seconds: processor time of the generator itself.
    """

    samples: Samples
    seconds: float
    own_cpu_seconds: float


def closed_loop(target: Target, requests: Sequence[bytes], *, connections: int, seconds: float) -> Outcome:
    """Keep one request in flight on each of `connections`, for `seconds`."""
    with _without_garbage_collection():
        return uvloop.run(_Run(target, requests).closed(connections, seconds))


def open_loop(
    target: Target, requests: Sequence[bytes], due: np.ndarray, *, seconds: float, rest: float = 0.0
) -> Outcome:
    """Send requests when they are due, whether or not others were answered.

    Args:
        target: where to send them.
        requests: prepared requests, sent in turn.
        due: seconds from the start, float64[requests], ascending.
        seconds: length of the run.
        rest: with requests due at shorter intervals, sleep for this long between sends instead of waking up for each,
            which would take the cores from the server. Latencies still count from when a request was due.
    """
    with _without_garbage_collection():
        return uvloop.run(_Run(target, requests).at_moments(due, seconds, rest))


def poisson(rate: float, seconds: float, *, seed: int) -> np.ndarray:
    """Return the ascending due times float64[requests] of a Poisson process with `rate` a second, for `seconds`."""
    generator = np.random.default_rng(seed)
    due: np.ndarray = np.sort(generator.uniform(0, seconds, generator.poisson(rate * seconds)))
    return due


class _Run:
    """One run: which request is in flight on which connection, and the answers so far."""

    def __init__(self, target: Target, requests: Sequence[bytes]) -> None:
        if not requests:
            raise ValueError("Expected at least one request to send. Received none.")
        self._target = target
        self._requests = requests
        self._numbers = count()
        self._under_way: dict[Connection, tuple[float, int]] = {}
        self._idle: list[tuple[Connection, float]] = []  # each with the time since when
        self._waiting: deque[tuple[float, int]] = deque()
        self._connections = 0
        self._rows: list[tuple[float, float, int, int]] = []
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
            while (ahead := moment - time.perf_counter()) > AT_ONCE_SECONDS:  # timers may fire early
                if moment - last > rest:
                    await asyncio.sleep(ahead)
                else:
                    time.sleep(rest)  # unlike asyncio.sleep, this does not wake up for answers
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
        await asyncio.sleep(0.01)  # requests still in flight are lost
        rows = np.array(self._rows, dtype=np.float64).reshape(-1, 4)
        samples = Samples(
            rows[:, 0] - self._started, rows[:, 1] - self._started, rows[:, 2].astype(int), rows[:, 3].astype(int)
        )
        return Outcome(samples, seconds, time.process_time() - cpu)

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
        connection.send(self._requests[number % len(self._requests)])

    def _answered(self, connection: Connection, status: int) -> None:
        now = time.perf_counter()
        due, number = self._under_way.pop(connection)
        request = number % len(self._requests)
        self._rows.append((due, now, status, request))
        if not connection.open:
            self._connections -= 1
            if self._closed_loop and now < self._ends:
                self._waiting.append((now, self._next()))
            if self._waiting:
                self._spawn_connection()
        else:
            self._use(connection, now)

    def _use(self, connection: Connection, now: float) -> None:
        """Send the next request on a free connection, if there is one."""
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
        except OSError:  # count the first waiting request as lost
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
    """Pause garbage collection, whose pauses would count as latency; a run creates no cycles."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
