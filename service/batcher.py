"""From many clients' texts to the engine's batches, and each answer back to whom it belongs."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence

import structlog

from models.tokenizer import Encoding
from service.backlog import Answer, Backlog, Item
from service.cores import stand_back
from service.errors import DeadlineExceeded, HeedError, NotReady, PredictionFailed
from service.isolation import ForwardPass, IsolatingRunner
from service.results import Result
from service.shapes import bucket_of

__all__ = ["Answer", "Batcher"]

_BEHIND_THE_EVENT_LOOP = 5
"""Steps of niceness. An event loop that gets its core at once brings texts sooner, and so fuller batches: a fifth more
answers from two cores."""

log = structlog.get_logger(__name__)


class Batcher:
    """Work-conserving: a thread of the engine that is free takes the oldest waiting text, with others of its length.

    The threads take their batches themselves, so that the engine never waits for an event loop that is busy writing
    answers. An answer belongs to the future that its text was admitted with, so no cancellation can shift answers
    between clients.

    Args:
        engine: runs the batches.
        threads: batches that it runs at once.
        max_queued_tokens: padded tokens that are admitted and not yet answered, at most.
        max_batch_tokens: padded tokens in one batch, at most; a single text always goes.
        probe_seconds: how often an engine that failed is tried again while no text comes.
    """

    def __init__(
        self,
        engine: ForwardPass,
        *,
        threads: int = 1,
        max_queued_tokens: int,
        max_batch_tokens: int,
        probe_seconds: float = 1.0,
    ) -> None:
        self._engine = engine
        self._runner = IsolatingRunner(engine)
        self._backlog = Backlog(
            max_queued_tokens, largest_batch=engine.largest_batch, max_batch_tokens=max_batch_tokens
        )
        self._probe_seconds = probe_seconds
        self._threads = [
            threading.Thread(target=self._work, name=f"engine-{number}", daemon=True) for number in range(threads)
        ]
        self._running = 0
        self._all_ended = asyncio.Event()
        self._refusal: str | None = "The model is not started yet."

    @property
    def healthy(self) -> bool:
        """Whether the last forward pass succeeded; a bad text alone does not make it unhealthy."""
        return self._runner.healthy

    @property
    def queued_tokens(self) -> int:
        """Padded tokens admitted and not yet answered."""
        return self._backlog.tokens

    @property
    def tokens_per_second(self) -> float | None:
        """Padded tokens that the engine got through lately; None before the first batch."""
        return self._backlog.tokens_per_second

    async def start(self) -> None:
        """Admit texts from now on."""
        self._refusal = None
        self._loop = asyncio.get_running_loop()
        self._running = len(self._threads)
        for thread in self._threads:
            thread.start()

    def refuse_if_full(self, coming: int = 0, more: int = 1) -> None:
        """Find out before any work is done on a request whether it would be refused anyway.

        Args:
            coming: tokens of requests that were let in, whether or not they were admitted here yet.
            more: tokens of the request in question, as far as one knows.

        Raises:
            Overloaded: so many more are not admitted just now.
        """
        self._backlog.refuse_if_full(coming, more)

    async def submit(self, encoding: Encoding, *, deadline: float) -> Answer:
        """The answer for one text; see `submit_many`."""
        [answer] = await self.submit_many([encoding], deadline=deadline)
        return answer

    async def submit_many(self, encodings: Sequence[Encoding], *, deadline: float) -> list[Answer]:
        """The answers for the texts of one request, in order. All of them are admitted, or none.

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
        if seconds_left <= 0:
            raise DeadlineExceeded(0.0)
        items = []
        for encoding in encodings:
            bucket = bucket_of(len(encoding.ids), self._engine.token_buckets)
            items.append(Item(encoding.ids, bucket, now, now + seconds_left, loop.create_future()))
        self._backlog.admit(items)
        expiry = loop.call_at(deadline, _expire, items, seconds_left)
        try:
            return [_answer(await item.outcome) for item in items]
        finally:  # the client left, or one of its texts failed: what is not computed yet need not be
            expiry.cancel()
            self._backlog.leave(items)
            for item in items:
                item.outcome.cancel()

    async def close(self, drain_seconds: float) -> None:
        """Admit nothing more, finish what is queued within `drain_seconds`, and fail the rest with NotReady."""
        self._refusal = self._refusal or "The service is shutting down. Send the request again."
        self._backlog.close()
        if self._running:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_ended.wait(), drain_seconds)
        self._fail_unanswered()

    # In the threads of the engine

    def _work(self) -> None:
        """Feed the engine, one batch after the other, until the batcher closes and nothing waits."""
        stand_back(_BEHIND_THE_EVENT_LOOP)
        try:
            while True:
                if self._backlog.wait(None if self.healthy else self._probe_seconds):
                    self._compute(self._backlog.take(time.monotonic()))
                elif self._backlog.closed:
                    break
                elif not self.healthy:  # unready, it might get no text by which to recover
                    self._runner.probe()
        except BaseException as error:
            log.error("batcher stopped by a fault", error=repr(error))
            self._runner.healthy = False
            self._refusal = "The engine has stopped."
            self._backlog.close()
            self._tell(self._fail_unanswered)
        self._tell(self._thread_ended)

    def _compute(self, batch: Sequence[Item]) -> None:
        if not batch:  # another thread was quicker
            return
        started = time.monotonic()
        outcomes = self._runner.run([item.ids for item in batch], lambda place: not batch[place].outcome.done())
        seconds = time.monotonic() - started
        self._backlog.settle(batch, seconds)
        self._tell(self._deliver, batch, outcomes, started, seconds)

    def _tell(self, callback: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(callback, *arguments)

    # In the event loop

    def _deliver(
        self, batch: Sequence[Item], outcomes: Sequence[Result | PredictionFailed], started: float, seconds: float
    ) -> None:
        for item, outcome in zip(batch, outcomes, strict=True):
            if not item.outcome.done():
                answer = Answer(outcome, started - item.entered, seconds) if isinstance(outcome, Result) else outcome
                item.outcome.set_result(answer)

    def _thread_ended(self) -> None:
        self._running -= 1
        if not self._running:
            self._all_ended.set()

    def _fail_unanswered(self) -> None:
        """However it ended, nobody may be left waiting."""
        for item in self._backlog.unanswered:
            if not item.outcome.done():
                item.outcome.set_result(NotReady(self._refusal or "The engine has stopped."))


def _expire(items: Sequence[Item], seconds: float) -> None:
    for item in items:
        if not item.outcome.done():
            item.outcome.set_result(DeadlineExceeded(round(seconds, 2)))


def _answer(outcome: Answer | HeedError) -> Answer:
    if isinstance(outcome, HeedError):
        raise outcome
    return outcome
