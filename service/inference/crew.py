"""Who works off the texts that a batcher admits: threads beside the event loop."""

import asyncio
import contextlib
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence

import structlog

from service.inference.admission import Admission
from service.inference.cores import stand_back
from service.inference.errors import NotReady
from service.inference.isolation import ForwardPass, IsolatingRunner
from service.inference.queue import Item

STOPPED = "The engine has stopped."

_BEHIND_THE_EVENT_LOOP = 5
"""Steps of niceness. An event loop that gets its core at once brings texts sooner, and so fuller batches: a fifth more
answers from two cores."""

log = structlog.get_logger(__name__)


class Crew(Admission):
    """Work-conserving: a thread that is free takes the oldest waiting text, with others of its length.

    The threads take their batches themselves, so that the engine never waits for an event loop that is busy writing
    answers. What becomes of a text is told to its item's outcome, in the event loop.

    Args:
        engine: whose forward passes they are.
        threads: batches at once.
        max_queued_tokens: padded tokens that are admitted and not yet answered, at most.
    """

    def __init__(self, engine: ForwardPass, *, threads: int, max_queued_tokens: int) -> None:
        super().__init__(max_queued_tokens)
        self.token_buckets = engine.token_buckets
        self.broken = False
        """Whether a thread has stopped by a fault: nothing is admitted any more."""
        self._runner = IsolatingRunner(engine)
        self._threads = [
            threading.Thread(target=self._run, name=f"engine-{number}", daemon=True) for number in range(threads)
        ]
        self._running = 0
        self._all_ended = asyncio.Event()

    @property
    def healthy(self) -> bool:
        """Whether the last forward pass succeeded; a bad text alone does not make it unhealthy."""
        return self._runner.healthy

    def start(self) -> None:
        """Start the threads, beside the loop that runs now."""
        self._loop = asyncio.get_running_loop()
        self._running = len(self._threads)
        for thread in self._threads:
            thread.start()

    async def ended(self) -> None:
        """Return when all threads that were started have ended."""
        if self._running:
            await self._all_ended.wait()

    @property
    @abstractmethod
    def unanswered(self) -> Iterable[Item]:
        """Every item that waits or is being computed."""

    def admit(self, items: Sequence[Item]) -> None:
        """Take all the items in, or none. A request larger than the whole budget gets in when nothing else waits.

        Raises:
            Overloaded: they do not fit; `retry_after` is when they will, at the rate measured so far.
        """
        self._check_room(sum(item.bucket for item in items))
        self._add(items)

    @abstractmethod
    def _add(self, items: Sequence[Item]) -> None:
        """Take the items in, all or none."""

    @abstractmethod
    def leave(self, items: Iterable[Item]) -> None:
        """Forget those of the items that still wait; nobody wants their answers."""

    @abstractmethod
    def close(self) -> None:
        """No more will come: threads that find nothing to do end."""

    def fail_unanswered(self, why: str) -> None:
        """However it ended, nobody may be left waiting. In the event loop."""
        for item in self.unanswered:
            if not item.outcome.done():
                item.outcome.set_result(NotReady(why))

    # In the threads

    @abstractmethod
    def _work(self) -> None:
        """Feed the engine, one batch after the other, until the crew is closed and nothing waits."""

    def _run(self) -> None:
        stand_back(_BEHIND_THE_EVENT_LOOP)
        try:
            self._work()
        except BaseException as error:
            log.error("batcher stopped by a fault", error=repr(error))
            self._runner.healthy = False
            self.broken = True
            self.close()
            self._tell(self.fail_unanswered, STOPPED)
        self._tell(self._thread_ended)

    def _tell(self, callback: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(callback, *arguments)

    # In the event loop

    def _thread_ended(self) -> None:
        self._running -= 1
        if not self._running:
            self._all_ended.set()
