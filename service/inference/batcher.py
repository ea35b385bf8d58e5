"""Texts of many clients in, answers out: the asyncio face of a queue, and the worker threads that drain it."""

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
import structlog

from models.tokenizer import UNKNOWN_ID, Encoding
from service.inference.engine import Engine, Result, bucket_of
from service.inference.errors import DeadlineExceeded, HeedError, NotReady, PredictionFailed
from service.inference.process import lower_priority
from service.inference.queue import Admission, Answer, Item, Queue

Outcome = Result | PredictionFailed

FAILED = "The forward pass failed on this text. The log has the reason; the texts beside it have their answers."
NOT_FINITE = "The model gave numbers that are not finite, for this text alone."
STOPPED = "The engine has stopped."

_NICENESS = 5
"""An event loop that gets its core at once brings texts sooner, and so fuller batches: a fifth more answers from two
cores."""

_PROBE = np.array([UNKNOWN_ID], np.int32)

log = structlog.get_logger(__name__)


def run_isolated(
    engine: Engine, ids: Sequence[np.ndarray], wanted: Callable[[int], bool] = lambda place: True
) -> tuple[list[Outcome], bool]:
    """Run a batch so that a bad text fails alone; never raises.

    Args:
        engine: may raise anything, return too few results, or numbers that are not finite.
        ids: int32[tokens] each.
        wanted: whether somebody still waits for the text at this place; others are not tried again.

    Returns:
        one outcome for each text, and whether the engine is healthy: it ran one of them, or at least its probe.
    """
    outcomes = _attempt(engine, ids)
    if outcomes is None:
        outcomes = [PredictionFailed(FAILED) for _ in ids]
        if len(ids) > 1:
            for place in filter(wanted, range(len(ids))):
                if alone := _attempt(engine, ids[place : place + 1]):
                    outcomes[place] = alone[0]
    return outcomes, any(isinstance(outcome, Result) for outcome in outcomes) or answers_probe(engine)


def answers_probe(engine: Engine) -> bool:
    """Whether the engine runs a text that is surely good."""
    outcomes = _attempt(engine, [_PROBE])
    return outcomes is not None and isinstance(outcomes[0], Result)


def _attempt(engine: Engine, ids: Sequence[np.ndarray]) -> list[Outcome] | None:
    """Return the outcomes of one forward pass; None if it failed as a whole."""
    try:
        results = engine.run(ids)
        if len(results) != len(ids):
            raise RuntimeError(f"Expected {len(ids)} results. Received {len(results)}.")
        return [result if _is_finite(result) else PredictionFailed(NOT_FINITE) for result in results]
    except BaseException as error:  # nothing that an engine raises may end its thread or leave a client waiting
        log.warning("forward pass failed", texts=len(ids), error=repr(error))
        return None


def _is_finite(result: Result) -> bool:
    if result.finite is not None:
        return result.finite
    parts = (result.logits, result.attention, result.contributions)
    # A sum is quick, and finite if all its terms are, unless it overflows.
    return all(math.isfinite(part.sum()) or bool(np.isfinite(part).all()) for part in parts if part is not None)


class Batcher:
    """Puts the texts of many clients into the queue of one model, and waits for their answers.

    Threads take batches from the queue and run them: work-conserving, without a waiting timer. They take their batches
    themselves, so that the engine never waits for an event loop that is busy writing answers.

    An answer belongs to the future that its text was admitted with, so no cancellation can shift answers between
    clients.

    Args:
        engine: runs the batches.
        admission: bounds what is admitted.
        threads: batches that the engine runs at once.
        largest_batch: texts in a batch, at most.
        max_batch_tokens: padded tokens in a batch, at most; a single text always goes.
        probe_seconds: how often an engine that failed is tried again while no text comes.
    """

    def __init__(
        self,
        engine: Engine,
        admission: Admission,
        *,
        threads: int = 1,
        largest_batch: int,
        max_batch_tokens: int,
        probe_seconds: float = 1.0,
    ) -> None:
        self.healthy = True
        """Whether the last forward pass succeeded; a bad text alone does not make the engine unhealthy."""
        self._engine = engine
        self._queue = Queue(admission, largest_batch=largest_batch, max_batch_tokens=max_batch_tokens)
        self._probe_seconds = probe_seconds
        self._refusal: str | None = "The model is not started yet."
        self._broken = False  # by a fault in a thread
        self._threads = [
            threading.Thread(target=self._run, name=f"engine-{number}", daemon=True) for number in range(threads)
        ]
        self._running = 0
        self._all_ended = asyncio.Event()

    @property
    def queued_tokens(self) -> int:
        """Padded tokens of this model admitted and not yet answered."""
        return sum(item.bucket for item in self._queue.unanswered)

    def start(self) -> None:
        """Admit texts from now on. Called in the event loop."""
        self._refusal = None
        self._loop = asyncio.get_running_loop()
        self._running = len(self._threads)
        for thread in self._threads:
            thread.start()

    async def submit_many(self, encodings: Sequence[Encoding], *, deadline: float) -> list[Answer]:
        """Return the answers for the texts of one request, in order. All of them are admitted, or none.

        Args:
            encodings: none longer than the engine's largest bucket.
            deadline: in the running loop's time; it covers queue and compute.

        Raises:
            Overloaded: too much is queued.
            DeadlineExceeded: the answers were not there in time.
            PredictionFailed: the forward pass failed on one of these texts.
            NotReady: not started, closing, or stopped by a fault.
            ValueError: a text is longer than the largest bucket.
        """
        loop = asyncio.get_running_loop()
        now = time.monotonic()  # a loop's own clock may stand still between two of its rounds
        seconds_left = deadline - loop.time()
        if self._refusal is not None:
            raise NotReady(self._refusal)
        if self._broken:
            raise NotReady(STOPPED)
        if seconds_left <= 0:
            raise DeadlineExceeded(0.0)
        items = [
            Item(
                encoding.ids,
                bucket_of(len(encoding.ids), self._engine.buckets),
                entered=now,
                deadline=now + seconds_left,
                outcome=loop.create_future(),
            )
            for encoding in encodings
        ]
        self._queue.add(items)
        expiry = loop.call_at(deadline, _expire, items, seconds_left)
        try:
            return [_answer(await item.outcome) for item in items]
        finally:  # the client left, or one of its texts failed: what is not computed yet need not be
            expiry.cancel()
            self._queue.discard(items)
            for item in items:
                item.outcome.cancel()

    async def close(self, drain_seconds: float) -> None:
        """Admit nothing more, finish what is queued within `drain_seconds`, and fail the rest with NotReady."""
        self._refusal = self._refusal or "The service is shutting down. Send the request again."
        self._queue.close()
        if self._running:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_ended.wait(), drain_seconds)
        self._fail_unanswered(self._refusal)

    # In the threads

    def _run(self) -> None:
        lower_priority(_NICENESS)
        try:
            while (batch := self._queue.take(None if self.healthy else self._probe_seconds)) is not None:
                if batch:
                    self._compute(batch)
                elif not self.healthy:  # a service that is not ready may get no text by which to recover
                    self._set_health(answers_probe(self._engine))
        except BaseException as error:
            log.error("worker stopped by a fault", error=repr(error))
            self.healthy, self._broken = False, True
            self._queue.close()
            self._tell(self._fail_unanswered, STOPPED)
        self._tell(self._thread_ended)

    def _compute(self, batch: Sequence[Item]) -> None:
        started = time.monotonic()
        outcomes: Sequence[Outcome | NotReady] = [NotReady(STOPPED) for _ in batch]
        try:
            outcomes, healthy = run_isolated(
                self._engine, [item.ids for item in batch], lambda place: not batch[place].outcome.done()
            )
            self._set_health(healthy)
        finally:
            seconds = time.monotonic() - started
            self._queue.settle(batch, seconds)
            self._tell(_deliver, batch, outcomes, started, seconds)

    def _set_health(self, healthy: bool) -> None:
        if healthy != self.healthy:
            log.warning("engine health changed", healthy=healthy)
            self.healthy = healthy

    def _tell(self, callback: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(callback, *arguments)

    # Called by the threads, in the event loop

    def _fail_unanswered(self, why: str) -> None:
        for item in self._queue.unanswered:
            if not item.outcome.done():
                item.outcome.set_result(NotReady(why))

    def _thread_ended(self) -> None:
        self._running -= 1
        if not self._running:
            self._all_ended.set()


def _deliver(batch: Sequence[Item], outcomes: Sequence[Outcome | NotReady], started: float, seconds: float) -> None:
    for item, outcome in zip(batch, outcomes, strict=True):
        if not item.outcome.done():
            answer = Answer(outcome, started - item.entered, seconds) if isinstance(outcome, Result) else outcome
            item.outcome.set_result(answer)


def _expire(items: Sequence[Item], seconds: float) -> None:
    for item in items:
        if not item.outcome.done():
            item.outcome.set_result(DeadlineExceeded(round(seconds, 2)))


def _answer(outcome: Answer | HeedError) -> Answer:
    if isinstance(outcome, HeedError):
        raise outcome
    return outcome
