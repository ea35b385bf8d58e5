"""The crew of any engine."""

import time
from collections.abc import Iterable, Sequence

from service.inference.crew import Crew
from service.inference.engine import Result
from service.inference.errors import PredictionFailed
from service.inference.isolation import ForwardPass
from service.inference.queue import Answer, Backlog, Item


class PythonCrew(Crew):
    """Threads that hand the engine its batches.

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
        super().__init__(engine, threads=threads, max_queued_tokens=max_queued_tokens)
        self._backlog = Backlog(largest_batch=engine.largest_batch, max_batch_tokens=max_batch_tokens)
        self._probe_seconds = probe_seconds

    @property
    def tokens(self) -> int:
        """As `Admission` says."""
        return self._backlog.tokens

    @property
    def waiting_tokens(self) -> int:
        """As `Admission` says."""
        return self._backlog.waiting_tokens

    @property
    def tokens_per_second(self) -> float | None:
        """As `Admission` says."""
        return self._backlog.tokens_per_second

    @property
    def unanswered(self) -> Iterable[Item]:
        """As `Crew` says."""
        return self._backlog.unanswered

    def _add(self, items: Sequence[Item]) -> None:
        self._backlog.add(items)

    def leave(self, items: Iterable[Item]) -> None:
        """As `Crew` says."""
        self._backlog.leave(items)

    def close(self) -> None:
        """As `Crew` says."""
        self._backlog.close()

    # In the threads

    def _work(self) -> None:
        while True:
            if self._backlog.wait(None if self.healthy else self._probe_seconds):
                self._compute(self._backlog.take(time.monotonic()))
            elif self._backlog.closed:
                break
            elif not self.healthy:  # unready, it might get no text by which to recover
                self._runner.probe()

    def _compute(self, batch: Sequence[Item]) -> None:
        if not batch:  # another thread was quicker
            return
        started = time.monotonic()
        outcomes = self._runner.run([item.ids for item in batch], lambda place: not batch[place].outcome.done())
        seconds = time.monotonic() - started
        self._backlog.settle(batch, seconds)
        self._tell(_deliver, batch, outcomes, started, seconds)


def _deliver(
    batch: Sequence[Item], outcomes: Sequence[Result | PredictionFailed], started: float, seconds: float
) -> None:
    for item, outcome in zip(batch, outcomes, strict=True):
        if not item.outcome.done():
            answer = Answer(outcome, started - item.entered, seconds) if isinstance(outcome, Result) else outcome
            item.outcome.set_result(answer)
