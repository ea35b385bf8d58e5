"""From many clients' texts to the engine's batches, and each answer back to whom it belongs."""

import asyncio
import contextlib
import time
from collections.abc import Sequence

from models.tokenizer import Encoding
from service.inference.crew import STOPPED, Crew
from service.inference.errors import DeadlineExceeded, HeedError, NotReady
from service.inference.queue import Answer, Item
from service.inference.shapes import bucket_of

__all__ = ["Answer", "Batcher"]


class Batcher:
    """Admits texts by their tokens, and waits for their answers as long as their clients do.

    An answer belongs to the future that its text was admitted with, so no cancellation can shift answers between
    clients.

    Args:
        crew: makes batches of the texts, and works them off.
    """

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._refusal: str | None = "The model is not started yet."

    @property
    def healthy(self) -> bool:
        """Whether the last forward pass succeeded; a bad text alone does not make it unhealthy."""
        return self._crew.healthy

    @property
    def queued_tokens(self) -> int:
        """Padded tokens admitted and not yet answered."""
        return self._crew.tokens

    @property
    def tokens_per_second(self) -> float | None:
        """Padded tokens that the engine got through lately; None before the first batch."""
        return self._crew.tokens_per_second

    async def start(self) -> None:
        """Admit texts from now on."""
        self._refusal = None
        self._crew.start()

    def refuse_if_full(self, coming: int = 0, more: int = 1) -> None:
        """Find out before any work is done on a request whether it would be refused anyway.

        Args:
            coming: tokens of requests that were let in, whether or not they were admitted here yet.
            more: tokens of the request in question, as far as one knows.

        Raises:
            Overloaded: so many more are not admitted just now.
        """
        self._crew.refuse_if_full(coming, more)

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
        if self._crew.broken:
            raise NotReady(STOPPED)
        if seconds_left <= 0:
            raise DeadlineExceeded(0.0)
        items = []
        for encoding in encodings:
            bucket = bucket_of(len(encoding.ids), self._crew.token_buckets)
            items.append(Item(encoding.ids, bucket, now, now + seconds_left, loop.create_future()))
        self._crew.admit(items)
        expiry = loop.call_at(deadline, _expire, items, seconds_left)
        try:
            return [_answer(await item.outcome) for item in items]
        finally:  # the client left, or one of its texts failed: what is not computed yet need not be
            expiry.cancel()
            self._crew.leave(items)
            for item in items:
                item.outcome.cancel()

    async def close(self, drain_seconds: float) -> None:
        """Admit nothing more, finish what is queued within `drain_seconds`, and fail the rest with NotReady."""
        self._refusal = self._refusal or "The service is shutting down. Send the request again."
        self._crew.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._crew.ended(), drain_seconds)
        self._crew.fail_unanswered(self._refusal)


def _expire(items: Sequence[Item], seconds: float) -> None:
    for item in items:
        if not item.outcome.done():
            item.outcome.set_result(DeadlineExceeded(round(seconds, 2)))


def _answer(outcome: Answer | HeedError) -> Answer:
    if isinstance(outcome, HeedError):
        raise outcome
    return outcome
