"""From many clients' texts to the engine's batches, and each answer back to whom it belongs."""

import asyncio
import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from models.tokenizer import Encoding
from service.backlog import Answer, Backlog, Item
from service.engine import Result
from service.errors import DeadlineExceeded, HeedError, NotReady
from service.isolation import ForwardPass, IsolatingRunner
from service.shapes import bucket_of

__all__ = ["Answer", "Batcher"]

log = structlog.get_logger(__name__)


class Batcher:
    """Work-conserving: as soon as the engine is free the oldest waiting text goes, with others of its length.

    The engine runs in one thread of its own; all else happens in the event loop that called `start`. An answer belongs
    to the future that its text was admitted with, so no cancellation can shift answers between clients.

    Args:
        engine: runs the batches.
        max_queued_tokens: padded tokens that are admitted and not yet answered, at most.
        max_batch_tokens: padded tokens in one batch, at most; a single text always goes.
        probe_seconds: how often an engine that failed is tried again while no text comes.
    """

    def __init__(
        self, engine: ForwardPass, *, max_queued_tokens: int, max_batch_tokens: int, probe_seconds: float = 1.0
    ) -> None:
        self._engine = engine
        self._runner = IsolatingRunner(engine)
        self._backlog = Backlog(max_queued_tokens)
        self._max_batch_tokens = max_batch_tokens
        self._probe_seconds = probe_seconds
        self._wake = asyncio.Event()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._dispatching: asyncio.Task[None] | None = None
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
        self._dispatching = asyncio.create_task(self._dispatch(), name="batcher")
        self._dispatching.add_done_callback(self._dispatch_ended)

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
        now = loop.time()
        if self._refusal is not None:
            raise NotReady(self._refusal)
        if deadline <= now:
            raise DeadlineExceeded(0.0)
        items = []
        for encoding in encodings:
            bucket = bucket_of(len(encoding.ids), self._engine.token_buckets)
            items.append(Item(encoding.ids, bucket, now, deadline, loop.create_future()))
        self._backlog.admit(items)
        self._wake.set()
        try:
            async with asyncio.timeout_at(deadline):
                return [_answer(await item.outcome) for item in items]
        except TimeoutError:
            raise DeadlineExceeded(round(deadline - now, 2)) from None
        finally:  # the client left, or one of its texts failed: what is not computed yet need not be
            for item in items:
                self._backlog.leave(item)
                item.outcome.cancel()

    async def close(self, drain_seconds: float) -> None:
        """Admit nothing more, finish what is queued within `drain_seconds`, and fail the rest with NotReady."""
        self._refusal = self._refusal or "The service is shutting down. Send the request again."
        self._wake.set()
        if self._dispatching is not None:
            await asyncio.wait({self._dispatching}, timeout=drain_seconds)
            self._dispatching.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):  # a fault was logged when it happened
                await self._dispatching
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _dispatch(self) -> None:
        """Feed the engine, one batch after the other, until the batcher closes and nothing waits."""
        loop = asyncio.get_running_loop()
        while True:
            batch = self._backlog.take(loop.time(), self._engine.largest_batch, self._max_batch_tokens)
            if batch:
                await self._compute(batch)
            elif self._refusal is not None:
                return
            else:
                await self._wait_for_text()

    async def _compute(self, batch: Sequence[Item]) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        ids = [item.ids for item in batch]
        outcomes = await loop.run_in_executor(
            self._executor, self._runner.run, ids, lambda place: not batch[place].outcome.done()
        )
        seconds = loop.time() - started
        self._backlog.settle(seconds)
        for item, outcome in zip(batch, outcomes, strict=True):
            if item.outcome.done():
                continue
            if isinstance(outcome, Result):
                item.outcome.set_result(Answer(outcome, started - item.entered, seconds))
            else:
                item.outcome.set_result(outcome)

    async def _wait_for_text(self) -> None:
        """An engine that failed is tried meanwhile: unready, it might get no text by which to recover."""
        self._wake.clear()
        try:
            await asyncio.wait_for(self._wake.wait(), None if self.healthy else self._probe_seconds)
        except TimeoutError:
            await asyncio.get_running_loop().run_in_executor(self._executor, self._runner.probe)

    def _dispatch_ended(self, dispatching: "asyncio.Task[None]") -> None:
        """However it ended, nobody may be left waiting."""
        if not dispatching.cancelled() and (error := dispatching.exception()) is not None:
            self._runner.healthy = False
            self._refusal = "The engine has stopped."
            log.error("batcher stopped by a fault", error=repr(error))
        for item in self._backlog.unanswered:
            if not item.outcome.done():
                item.outcome.set_result(NotReady(self._refusal or "The engine has stopped."))


def _answer(outcome: Answer | HeedError) -> Answer:
    if isinstance(outcome, HeedError):
        raise outcome
    return outcome
