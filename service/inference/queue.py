"""The texts that wait for the engine: kept by length, handed out in batches of like length."""

import asyncio
import heapq
import math
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from service.inference.engine import Result
from service.inference.errors import HeedError

PATIENCE_SECONDS = 0.05
"""A text that has waited longer is not passed over any more."""

PATIENCE_ROUNDS = 1.5
"""Nor is one that has waited so many times as long as all that waits now should take together."""

_NEWEST_WEIGHT = 0.2
_MATES = 0.75


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says of a text, and where its time went.

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
        bucket: the padded length that it is run in, which is also what it costs.
        entered: time of its admission.
        deadline: time after which nobody wants its answer.
        outcome: where its client waits; done as soon as nobody does any more.
        ticket: what it is known by where it waits; 0 where that is not asked for.
    """

    ids: np.ndarray
    bucket: int
    entered: float
    deadline: float
    outcome: "asyncio.Future[Answer | HeedError]" = field(repr=False)
    ticket: int = 0


class Backlog:
    """Keeps and hands out items. Tokens are counted padded to their bucket, as the engine pays for them.

    Its methods may be called from any thread. Times are those of `time.monotonic`.

    Args:
        largest_batch: texts in a batch, at most.
        max_batch_tokens: padded tokens in a batch, at most; a single text always goes.
        patience_seconds: a text that has waited longer is not passed over any more.
        patience_rounds: nor is one that has waited so many times as long as all that waits now should take together.
    """

    def __init__(
        self,
        *,
        largest_batch: int,
        max_batch_tokens: int,
        patience_seconds: float = PATIENCE_SECONDS,
        patience_rounds: float = PATIENCE_ROUNDS,
    ) -> None:
        self.tokens_per_second: float | None = None
        """Padded tokens that all engine threads together got through lately; None before the first batch."""
        self.closed = False
        self._largest_batch = largest_batch
        self._max_batch_tokens = max_batch_tokens
        self._patience_seconds = patience_seconds
        self._patience_rounds = patience_rounds
        self._waiting: dict[int, OrderedDict[Item, None]] = {}  # by bucket, oldest first
        self.waiting_tokens = 0
        """Tokens that wait; those in the engine do not."""
        self.tokens = 0
        """Tokens added and not yet answered, those in the engine included."""
        self._computing: dict[int, Sequence[Item]] = {}  # by the identity of the batch
        self._changed = threading.Condition()

    @property
    def unanswered(self) -> list[Item]:
        """Every item that waits or is being computed."""
        with self._changed:
            return [item for items in (*self._computing.values(), *self._waiting.values()) for item in items]

    def add(self, items: Sequence[Item]) -> None:
        """Take the items in."""
        with self._changed:
            for item in items:
                self._waiting.setdefault(item.bucket, OrderedDict())[item] = None
                self.waiting_tokens += item.bucket
                self.tokens += item.bucket
            self._changed.notify(len(items))

    def leave(self, items: Iterable[Item]) -> None:
        """Forget those of the items that still wait; nobody wants their answers."""
        with self._changed:
            for item in items:
                if item in self._waiting.get(item.bucket, ()):
                    self._remove(item)
                    self.tokens -= item.bucket

    def wait(self, seconds: float | None) -> bool:
        """Sleep until a text waits or there will be none any more, at most so long; whether a text waits."""
        with self._changed:
            if not self._waiting and not self.closed:
                self._changed.wait(seconds)
            return bool(self._waiting)

    def close(self) -> None:
        """No more texts will come; whoever waits for one need not."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def take(self, now: float) -> Sequence[Item]:
        """The next batch; empty where nothing waits. It counts as unanswered until it is settled.

        A batch holds texts of like length. A full one goes first, then the shortest texts; but once the oldest of all
        has waited for long, it goes, in the fullest batch that it fits into. Within a batch's lengths the oldest go.
        Items whose deadline has passed are dropped on the way.
        """
        with self._changed:
            batch: list[Item] = []
            while self._waiting and not batch:
                longest = self._next_length(now)
                room = self._room(longest)
                for item in list(self._oldest_of(longest)):
                    if len(batch) == room:
                        break
                    self._remove(item)
                    if item.deadline > now and not item.outcome.done():
                        batch.append(item)
                    else:
                        self.tokens -= item.bucket
            if batch:
                self._computing[id(batch)] = batch
            return batch

    def settle(self, batch: Sequence[Item], seconds: float) -> None:
        """A batch that was taken is answered; it took `seconds`."""
        with self._changed:
            tokens = sum(item.bucket for item in batch)
            rate = len(self._computing) * tokens / max(seconds, 1e-6)
            known = self.tokens_per_second
            self.tokens_per_second = rate if known is None else known + _NEWEST_WEIGHT * (rate - known)
            del self._computing[id(batch)]
            self.tokens -= tokens

    def _next_length(self, now: float) -> int:
        """The bucket of the longest texts of the next batch."""
        # An item's age is its place in admission; between two of the same moment either may go first.
        heads = sorted((next(iter(queue)).entered, bucket) for bucket, queue in self._waiting.items())
        entered, oldest = heads[0]
        if now - entered > self._patience():
            return max((self._fill(bucket), -bucket, bucket) for bucket in self._waiting if oldest in mates(bucket))[-1]
        full = (bucket for _, bucket in heads if self._room(bucket) > 1 and self._fill(bucket) == 1)
        return next(full, min(self._waiting))

    def _patience(self) -> float:
        """Seconds after which a text is not passed over any more: the fewer, the less there is to do."""
        if self.tokens_per_second is None:
            return self._patience_seconds
        return min(self._patience_seconds, self._patience_rounds * self.waiting_tokens / self.tokens_per_second)

    def _fill(self, longest: int) -> float:
        """The share of a batch of texts up to this length that waits."""
        waiting = sum(len(queue) for bucket, queue in self._waiting.items() if bucket in mates(longest))
        return min(1.0, waiting / self._room(longest))

    def _room(self, longest: int) -> int:
        return max(1, min(self._largest_batch, self._max_batch_tokens // longest))

    def _oldest_of(self, longest: int) -> Iterator[Item]:
        """The items that may go in one batch with those of this bucket, oldest first."""
        queues = (queue for bucket, queue in self._waiting.items() if bucket in mates(longest))
        return heapq.merge(*queues, key=lambda item: item.entered)

    def _remove(self, item: Item) -> None:
        queue = self._waiting[item.bucket]
        del queue[item]
        self.waiting_tokens -= item.bucket
        if not queue:
            del self._waiting[item.bucket]


def mates(longest: int) -> range:
    """The buckets that may go in one batch with texts of bucket `longest`: to pad shorter ones costs too much."""
    return range(math.ceil(_MATES * longest), longest + 1)
