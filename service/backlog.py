"""The texts that wait for the engine: admitted by tokens, kept by length, taken oldest first."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from service.engine import Result
from service.errors import HeedError, Overloaded

_RETRY_AT_LEAST, _RETRY_AT_MOST, _RETRY_UNKNOWN = 0.1, 60.0, 1.0  # seconds
_NEWEST_WEIGHT = 0.2


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
        entered: loop time of its admission.
        deadline: loop time after which nobody wants its answer.
        outcome: where its client waits; done as soon as nobody does any more.
    """

    ids: np.ndarray
    bucket: int
    entered: float
    deadline: float
    outcome: "asyncio.Future[Answer | HeedError]" = field(repr=False)


class Backlog:
    """Admits, keeps and hands out items. Tokens are counted padded to their bucket, as the engine pays for them.

    Not safe to call from several threads: it belongs to the event loop.

    Args:
        max_tokens: tokens that are admitted and not yet answered, at most.
    """

    def __init__(self, max_tokens: int) -> None:
        self.max_tokens = max_tokens
        self.waiting_tokens = 0
        self.computing: Sequence[Item] = ()
        self.tokens_per_second: float | None = None
        self._waiting: dict[int, OrderedDict[Item, None]] = {}  # by bucket, oldest first

    @property
    def tokens(self) -> int:
        """Tokens admitted and not yet answered, those in the engine included."""
        return self.waiting_tokens + sum(item.bucket for item in self.computing)

    @property
    def unanswered(self) -> list[Item]:
        """Every item that waits or is being computed."""
        return [*self.computing, *(item for queue in self._waiting.values() for item in queue)]

    def admit(self, items: Sequence[Item]) -> None:
        """Take all the items in, or none. A request larger than the whole budget gets in when nothing else waits.

        Raises:
            Overloaded: they do not fit; `retry_after` is when they will, at the rate measured so far.
        """
        needed = sum(item.bucket for item in items)
        excess = self.tokens + needed - self.max_tokens
        alone = needed > self.max_tokens and not self.waiting_tokens
        if excess > 0 and not alone:
            rate = self.tokens_per_second
            wait = _RETRY_UNKNOWN if rate is None else min(excess, self.tokens) / rate
            raise Overloaded(min(max(wait, _RETRY_AT_LEAST), _RETRY_AT_MOST))
        for item in items:
            self._waiting.setdefault(item.bucket, OrderedDict())[item] = None
        self.waiting_tokens += needed

    def leave(self, item: Item) -> None:
        """Forget an item if it still waits; nobody wants its answer."""
        queue = self._waiting.get(item.bucket)
        if queue is not None and item in queue:
            del queue[item]
            self.waiting_tokens -= item.bucket
            if not queue:
                del self._waiting[item.bucket]

    def take(self, now: float, largest_batch: int, max_batch_tokens: int) -> Sequence[Item]:
        """The next batch: the oldest item and others of its bucket, so that none pays for a longer one.

        Items whose deadline has passed are dropped on the way. The batch counts as unanswered until `settle`.
        """
        batch: list[Item] = []
        while self._waiting and not batch:
            # An item's age is its place in admission; between two of the same moment either may go first.
            queue = min(self._waiting.values(), key=lambda queue: next(iter(queue)).entered)
            bucket = next(iter(queue)).bucket
            room = max(1, min(largest_batch, max_batch_tokens // bucket))
            while queue and len(batch) < room:
                item = next(iter(queue))
                self.leave(item)
                if item.deadline > now and not item.outcome.done():
                    batch.append(item)
        self.computing = batch
        return batch

    def settle(self, seconds: float) -> None:
        """The batch that was taken is answered; it took `seconds`."""
        rate = sum(item.bucket for item in self.computing) / max(seconds, 1e-6)
        known = self.tokens_per_second
        self.tokens_per_second = rate if known is None else known + _NEWEST_WEIGHT * (rate - known)
        self.computing = ()
