"""The asyncio face of a queue and its workers: texts in, answers out, each to the client that it belongs to."""

import asyncio
import contextlib
import time
from collections.abc import Sequence

from models.tokenizer import Encoding
from service.inference.engine import Engine, bucket_of
from service.inference.errors import DeadlineExceeded, HeedError, NotReady
from service.inference.queue import Admission, Answer, Item, Queue
from service.inference.workers import STOPPED, Workers


class Batcher:
    """Puts the texts of many clients into the queue of one model, and waits for their answers.

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
        self._buckets = engine.buckets
        self._queue = Queue(admission, largest_batch=largest_batch, max_batch_tokens=max_batch_tokens)
        self._workers = Workers(engine, self._queue, threads=threads, probe_seconds=probe_seconds)
        self._refusal: str | None = "The model is not started yet."

    @property
    def healthy(self) -> bool:
        """Whether the last forward pass succeeded; a bad text alone does not make it unhealthy."""
        return self._workers.healthy

    @property
    def queued_tokens(self) -> int:
        """Padded tokens of this model admitted and not yet answered."""
        return sum(item.bucket for item in self._queue.unanswered)

    def start(self) -> None:
        """Admit texts from now on. Called in the event loop."""
        self._refusal = None
        self._workers.start()

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
        if self._workers.broken:
            raise NotReady(STOPPED)
        if seconds_left <= 0:
            raise DeadlineExceeded(0.0)
        items = [
            Item(
                encoding.ids,
                bucket_of(len(encoding.ids), self._buckets),
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
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._workers.ended(), drain_seconds)
        self._workers.fail_unanswered(self._refusal)


def _expire(items: Sequence[Item], seconds: float) -> None:
    for item in items:
        if not item.outcome.done():
            item.outcome.set_result(DeadlineExceeded(round(seconds, 2)))


def _answer(outcome: Answer | HeedError) -> Answer:
    if isinstance(outcome, HeedError):
        raise outcome
    return outcome
