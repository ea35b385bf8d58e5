"""The queue of one model, and the admission that bounds all queues together."""

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from service.inference.engine import Result
from service.inference.errors import HeedError, Overloaded

_NEWEST_WEIGHT = 0.2
_RETRY_AT_LEAST, _RETRY_AT_MOST, _RETRY_UNKNOWN = 0.1, 60.0, 1.0  # seconds


@dataclass(frozen=True, slots=True)
class Answer:
    """A result, and where the time of its text went.

    Attributes:
        result: the model's outputs for this text.
        queue_seconds: from admission to the start of the forward pass.
        compute_seconds: of the whole batch that this text was in.
    """

    result: Result
    queue_seconds: float
    compute_seconds: float


@dataclass(eq=False, slots=True)
class Item:
    """One text of one client.

    Attributes:
        ids: int32[tokens].
        bucket: the padded length, which is also its cost.
        entered: time of its admission, by `time.monotonic`.
        deadline: time after which nobody wants its answer.
        outcome: where its client waits; done as soon as nobody does any more.
    """

    ids: np.ndarray
    bucket: int
    entered: float
    deadline: float
    outcome: "asyncio.Future[Answer | HeedError]" = field(repr=False)


class Admission:
    """Bounds the padded tokens that all models of a process have admitted and not yet answered.

    Its methods may be called from any thread.

    Args:
        max_queued_tokens: of them, at most.
    """

    def __init__(self, max_queued_tokens: int) -> None:
        self.waiting_tokens = 0
        self.running_tokens = 0
        """Tokens in batches that an engine runs now."""
        self.expected_tokens = 0
        """Tokens, roughly, of the requests that are being read, queued or answered."""
        self.tokens_per_second: float | None = None
        """The drain rate of all workers together; None before the first batch."""
        self._max_queued_tokens = max_queued_tokens
        self._running_batches = 0
        self._lock = threading.Lock()

    def expect(self, tokens: int) -> int:
        """Count a request before any work is done on it, from its size alone. Returns what to `forget` in the end.

        Reading requests and writing answers can take longer than computing them: then the queue stays short while
        requests pile up in front of it. A large request counts as half the budget, so that small ones before it do not
        keep it out.

        Raises:
            Overloaded: as `reserve`.
        """
        tokens = min(tokens, max(1, self._max_queued_tokens // 2))
        with self._lock:
            self._refuse_if_full(max(self.waiting_tokens + self.running_tokens, self.expected_tokens), tokens)
            self.expected_tokens += tokens
        return tokens

    def forget(self, tokens: int) -> None:
        """Forget a request that was expected: it is answered."""
        with self._lock:
            self.expected_tokens -= tokens

    def reserve(self, tokens: int) -> None:
        """Count tokens as waiting. What is larger than the whole budget gets in when nothing waits.

        Raises:
            Overloaded: they do not fit; `retry_after` is when they will, at the drain rate.
        """
        with self._lock:
            if self.waiting_tokens:
                self._refuse_if_full(self.waiting_tokens + self.running_tokens, tokens)
            self.waiting_tokens += tokens

    def _refuse_if_full(self, before: int, tokens: int) -> None:
        excess = before + tokens - self._max_queued_tokens
        if excess > 0 and before:
            rate = self.tokens_per_second
            wait = _RETRY_UNKNOWN if rate is None else excess / rate
            raise Overloaded(min(max(wait, _RETRY_AT_LEAST), _RETRY_AT_MOST))

    def release(self, tokens: int) -> None:
        """Forget tokens that waited and will not be run."""
        with self._lock:
            self.waiting_tokens -= tokens

    def begin(self, tokens: int) -> None:
        """Move a batch from the waiting tokens to the running ones."""
        with self._lock:
            self.waiting_tokens -= tokens
            self.running_tokens += tokens
            self._running_batches += 1

    def end(self, tokens: int, seconds: float) -> None:
        """Forget a batch that ran for `seconds`, and update the drain rate."""
        with self._lock:
            rate = self._running_batches * tokens / max(seconds, 1e-6)
            known = self.tokens_per_second
            self.tokens_per_second = rate if known is None else known + _NEWEST_WEIGHT * (rate - known)
            self.running_tokens -= tokens
            self._running_batches -= 1


class Queue:
    """Keeps texts by length, and hands them out in batches of one bucket, the oldest text first.

    Its methods may be called from any thread.

    Args:
        admission: counts the tokens.
        largest_batch: texts in a batch, at most.
        max_batch_tokens: padded tokens in a batch, at most; a single text always goes.
    """

    def __init__(self, admission: Admission, *, largest_batch: int, max_batch_tokens: int) -> None:
        self._admission = admission
        self._largest_batch = largest_batch
        self._max_batch_tokens = max_batch_tokens
        self._waiting: dict[int, OrderedDict[Item, None]] = {}  # by bucket, oldest first; no bucket is empty
        self._running: dict[int, Sequence[Item]] = {}  # by the identity of the batch
        self._closed = False
        self._changed = threading.Condition()

    @property
    def unanswered(self) -> list[Item]:
        """Every item that waits or is being computed."""
        with self._changed:
            return [item for items in (*self._running.values(), *self._waiting.values()) for item in items]

    def add(self, items: Sequence[Item]) -> None:
        """Admit all the items, or none.

        Raises:
            Overloaded: they do not fit.
        """
        self._admission.reserve(sum(item.bucket for item in items))
        with self._changed:
            for item in items:
                self._waiting.setdefault(item.bucket, OrderedDict())[item] = None
            self._changed.notify(len(items))

    def discard(self, items: Iterable[Item]) -> None:
        """Forget those of the items that still wait; nobody wants their answers."""
        with self._changed:
            for item in items:
                if item in self._waiting.get(item.bucket, ()):
                    self._remove(item)
                    self._admission.release(item.bucket)

    def close(self) -> None:
        """Let workers end once nothing waits any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def take(self, timeout: float | None) -> Sequence[Item] | None:
        """Wait for a batch until one can be had, or for `timeout` seconds.

        Items whose deadline has passed, or whose client has left, are dropped on the way.

        Returns:
            the batch, to be given to `settle`; empty after the timeout; None once the queue is closed and empty.
        """
        with self._changed:
            if not self._waiting and not self._closed:
                self._changed.wait(timeout)
            batch: list[Item] = []
            while self._waiting and not batch:
                batch = self._next_batch()
            if batch:
                self._running[id(batch)] = batch
                self._admission.begin(sum(item.bucket for item in batch))
                return batch
            return None if self._closed else batch

    def settle(self, batch: Sequence[Item], seconds: float) -> None:
        """Forget a batch that was taken; it ran for `seconds`."""
        with self._changed:
            del self._running[id(batch)]
        self._admission.end(sum(item.bucket for item in batch), seconds)

    def _next_batch(self) -> list[Item]:
        """Return the oldest item with the oldest others of its bucket."""
        now = time.monotonic()
        bucket = min(self._waiting, key=lambda bucket: next(iter(self._waiting[bucket])).entered)
        room = max(1, min(self._largest_batch, self._max_batch_tokens // bucket))
        batch: list[Item] = []
        for item in list(self._waiting[bucket]):
            if len(batch) == room:
                break
            self._remove(item)
            if item.deadline > now and not item.outcome.done():
                batch.append(item)
            else:
                self._admission.release(item.bucket)
        return batch

    def _remove(self, item: Item) -> None:
        items = self._waiting[item.bucket]
        del items[item]
        if not items:
            del self._waiting[item.bucket]
