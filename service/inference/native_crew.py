"""The crew of the engine in C: its threads never wait for the interpreter, nor does it for them."""

import asyncio
import ctypes
import weakref
from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np

from models.native import library, unlocked_library
from service.inference.crew import Crew
from service.inference.engine import Result
from service.inference.errors import PredictionFailed
from service.inference.native_classifier import ALL_FINITE, failure_of
from service.inference.native_engine import NativeEngine
from service.inference.queue import PATIENCE_ROUNDS, PATIENCE_SECONDS, Answer, Item, mates

MOST_BUCKETS = 64
_MOST_COLLECTED = 64  # at a time


class _Terms(ctypes.Structure):
    """`Terms` of models/native/backlog.c."""

    _fields_ = [
        ("model", ctypes.c_void_p),
        ("buckets", ctypes.c_int32),
        ("largest_batch", ctypes.c_int32),
        ("max_batch_tokens", ctypes.c_int32),
        ("bell", ctypes.c_int32),
        ("patience_seconds", ctypes.c_double),
        ("patience_rounds", ctypes.c_double),
        ("bounds", ctypes.c_int32 * MOST_BUCKETS),
        ("mates", ctypes.c_int32 * MOST_BUCKETS),
        ("waiting_tokens", ctypes.c_int64),
        ("tokens", ctypes.c_int64),
        ("tokens_per_second", ctypes.c_double),
    ]


class _Done(ctypes.Structure):
    """`Done` of models/native/backlog.c."""

    _fields_ = [
        ("text", ctypes.c_void_p),
        ("outputs", ctypes.c_void_p),
        ("queue_seconds", ctypes.c_double),
        ("compute_seconds", ctypes.c_double),
        ("outcome", ctypes.c_int32),
    ]


class NativeCrew(Crew):
    """Threads that take their texts, compute and leave the results without the interpreter's lock.

    Texts go together as `Backlog` would have it. Those of a pass that fails are run once more, each alone, so that a
    bad text fails alone. The event loop is woken up when there are results, and must know `add_reader`.

    Args:
        engine: whose model it is, of `MOST_BUCKETS` buckets at most.
        threads: batches at once.
        max_queued_tokens: padded tokens that are admitted and not yet answered, at most.
        max_batch_tokens: padded tokens in one batch, at most; a single text always goes.
        probe_seconds: how often an engine that failed is tried again while no text comes.
        patience_seconds: a text that has waited longer is not passed over any more.
        patience_rounds: nor is one that has waited so many times as long as all that waits now should take together.
    """

    def __init__(
        self,
        engine: NativeEngine,
        *,
        threads: int = 1,
        max_queued_tokens: int,
        max_batch_tokens: int,
        probe_seconds: float = 1.0,
        patience_seconds: float = PATIENCE_SECONDS,
        patience_rounds: float = PATIENCE_ROUNDS,
    ) -> None:
        super().__init__(engine, threads=threads, max_queued_tokens=max_queued_tokens)
        self._classifier = engine.classifier
        self._probe_seconds = probe_seconds
        bounds = engine.token_buckets
        firsts = (next(place for place, bound in enumerate(bounds) if bound in mates(longest)) for longest in bounds)
        terms = _Terms(
            model=self._classifier.address,
            buckets=len(bounds),
            largest_batch=engine.largest_batch,
            max_batch_tokens=max_batch_tokens,
            patience_seconds=patience_seconds,
            patience_rounds=patience_rounds,
            bounds=(*bounds,),
            mates=(*firsts,),
        )
        self._c = _functions()
        self._address = self._c.heed_backlog_open(ctypes.byref(terms))
        if not self._address:
            raise MemoryError("Expected memory and two files for the texts that wait. There are none left.")
        # Not when the interpreter ends: threads may be at work then.
        weakref.finalize(self, self._c.heed_backlog_free, self._address).atexit = False
        self._terms = _Terms.from_address(self._address)
        self._found = (_Done * _MOST_COLLECTED)()
        self._inside: dict[int, Item] = {}  # by their tickets, which are addresses
        self._next_probe: asyncio.TimerHandle | None = None

    @property
    def tokens(self) -> int:
        """As `Admission` says."""
        return int(self._terms.tokens)

    @property
    def waiting_tokens(self) -> int:
        """As `Admission` says."""
        return int(self._terms.waiting_tokens)

    @property
    def tokens_per_second(self) -> float | None:
        """As `Admission` says."""
        return self._terms.tokens_per_second or None

    @property
    def unanswered(self) -> Iterable[Item]:
        """As `Crew` says."""
        return list(self._inside.values())

    def start(self) -> None:
        """As `Crew` says."""
        super().start()
        self._loop.add_reader(self._terms.bell, self._collect)

    def _add(self, items: Sequence[Item]) -> None:
        for item in items:
            ids = item.ids.astype(np.int32, copy=False).tobytes()
            item.ticket = self._c.heed_backlog_admit(self._address, len(item.ids), ids) or 0
            if not item.ticket:
                self.leave(items)
                raise MemoryError(f"Expected memory for a text of {len(item.ids)} tokens. There is none left.")
            self._inside[item.ticket] = item

    def leave(self, items: Iterable[Item]) -> None:
        """As `Crew` says."""
        for item in items:  # a ticket is given again once its text was collected
            if self._inside.get(item.ticket) is item and self._c.heed_backlog_leave(self._address, item.ticket):
                del self._inside[item.ticket]

    def close(self) -> None:
        """As `Crew` says."""
        self._c.heed_backlog_close(self._address)

    # In the threads

    def _work(self) -> None:
        _work()(self._address)

    # In the event loop

    def _collect(self) -> None:
        """Tell every item whose text is done."""
        count, outcomes = _MOST_COLLECTED, set()
        while count == _MOST_COLLECTED:
            count = self._c.heed_backlog_collect(self._address, _MOST_COLLECTED, self._found)
            for done in self._found[:count]:
                item = self._inside.pop(done.text)
                outcomes.add(done.outcome)
                if not item.outcome.done():
                    item.outcome.set_result(self._outcome(done, len(item.ids)))
        if ALL_FINITE in outcomes:
            self._runner.healthy = True
        elif outcomes:
            self._probe()  # was it the texts, or is it the engine?

    def _outcome(self, done: _Done, tokens: int) -> Answer | PredictionFailed:
        if failed := failure_of(done.outcome):
            return failed
        labels = self._classifier.labels
        outputs = np.frombuffer(ctypes.string_at(done.outputs, 4 * (labels + 2 * tokens)), np.float32)
        logits, attention, contributions = (
            outputs[:labels],
            outputs[labels : labels + tokens],
            outputs[labels + tokens :],
        )
        return Answer(Result(logits, attention, contributions, True), done.queue_seconds, done.compute_seconds)

    def _probe(self) -> None:
        if self._next_probe:
            self._next_probe.cancel()
            self._next_probe = None
        self._runner.probe()
        if not self.healthy and self._running:  # unready, it might get no text by which to recover
            self._next_probe = self._loop.call_later(self._probe_seconds, self._probe)

    def _thread_ended(self) -> None:
        self._collect()
        super()._thread_ended()
        if not self._running:
            self._loop.remove_reader(self._terms.bell)


@cache
def _functions() -> ctypes.PyDLL:
    """Those that take microseconds, called with the interpreter's lock held."""
    loaded = library()
    assert loaded is not None
    address, integer = ctypes.c_void_p, ctypes.c_int32
    loaded.heed_backlog_open.argtypes, loaded.heed_backlog_open.restype = [address], address
    loaded.heed_backlog_free.argtypes, loaded.heed_backlog_free.restype = [address], None
    loaded.heed_backlog_close.argtypes, loaded.heed_backlog_close.restype = [address], None
    loaded.heed_backlog_admit.argtypes = [address, integer, ctypes.c_char_p]
    loaded.heed_backlog_admit.restype = address
    loaded.heed_backlog_leave.argtypes = [address, address]
    loaded.heed_backlog_collect.argtypes = [address, ctypes.c_int, ctypes.c_void_p]
    return loaded


@cache
def _work() -> "ctypes._NamedFuncPointer":
    loaded = unlocked_library()
    assert loaded is not None
    loaded.heed_backlog_work.argtypes, loaded.heed_backlog_work.restype = [ctypes.c_void_p], None
    return loaded.heed_backlog_work
