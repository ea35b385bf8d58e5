"""The batcher with an engine of plain arithmetic, which can be slow, stopped, poisoned and broken at will."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.tokenizer import UNKNOWN_ID, Encoding
from service.inference.batcher import Batcher
from service.inference.engine import Result
from service.inference.errors import DeadlineExceeded, NotReady, Overloaded, PredictionFailed
from service.inference.python_crew import PythonCrew
from service.inference.queue import Answer, Backlog, Item
from service.inference.shapes import bucket_of
from tests.service.clients import LONGEST, PROMPT, Client, clients, in_time, later, until, visit_all

POISON, NOT_FINITE = 7, 8
FIRST_GOOD = 10


@dataclass
class ArithmeticEngine:
    """Answers with the ids themselves, so that an answer shows whose it is."""

    token_buckets: Sequence[int] = (4, 8, 16)
    largest_batch: int = 4
    seconds: float = 0.0
    broken: BaseException | None = None
    passes: list[list[np.ndarray]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def run(self, ids: Sequence[np.ndarray]) -> list[Result]:
        self.passes.append(list(ids))
        assert self.gate.wait(PROMPT)
        time.sleep(self.seconds)
        if self.broken is not None:
            raise self.broken
        if any(POISON in text for text in ids):
            raise ArithmeticError("poison")
        return [
            Result(
                np.array([np.nan if NOT_FINITE in text else text.sum()], np.float32),
                text.astype(np.float32),
                contributions=None,
            )
            for text in ids
        ]

    def saw(self, encoding: Encoding) -> bool:
        return any(text is encoding.ids for batch in self.passes for text in batch)

    @property
    def lengths(self) -> list[list[int]]:
        return [[len(text) for text in batch] for batch in self.passes]


def encoding_of(tokens: int, first: int = FIRST_GOOD) -> Encoding:
    ids = np.full(tokens, FIRST_GOOD, np.int32)
    ids[:1] = first
    offsets = np.arange(tokens, dtype=np.int32)
    return Encoding(ids, offsets, offsets + 1, 0, tokens)


def assert_answers(answer: Answer, encoding: Encoding) -> None:
    np.testing.assert_array_equal(answer.result.attention, encoding.ids)
    assert answer.queue_seconds >= 0
    assert answer.compute_seconds >= 0


@contextlib.asynccontextmanager
async def batching(engine: ArithmeticEngine, **options: Any) -> AsyncIterator[Batcher]:
    usual = {"max_queued_tokens": 10_000, "max_batch_tokens": 64, "probe_seconds": 0.01}
    batcher = Batcher(PythonCrew(engine, **(usual | options)))
    await batcher.start()
    try:
        yield batcher
    finally:
        engine.gate.set()
        await batcher.close(PROMPT)


async def admit(batcher: Batcher, *encodings: Encoding, seconds: float = PROMPT) -> list[asyncio.Task[Answer]]:
    """Submit each as a client of its own, in this order, and return when all are admitted."""
    tasks = []
    for encoding in encodings:
        tasks.append(asyncio.create_task(batcher.submit(encoding, deadline=later(seconds))))
        await asyncio.sleep(0)
    return tasks


async def occupy(engine: ArithmeticEngine, batcher: Batcher) -> asyncio.Task[Answer]:
    """Hold the engine with one text until its gate is set."""
    engine.gate.clear()
    [task] = await admit(batcher, encoding_of(1))
    await until(lambda: len(engine.passes) == 1)
    return task


@settings(max_examples=100, deadline=None)
@given(
    clients=clients,
    engine_seconds=st.sampled_from([0, 0, 0.0005, 0.003]),
    max_queued_tokens=st.sampled_from([40, 10_000]),
    threads=st.sampled_from([1, 3]),
)
def test_nothing_is_lost_or_mixed_up(
    clients: list[Client], engine_seconds: float, max_queued_tokens: int, threads: int
) -> None:
    def encode(number: int, tokens: int, fault: str | None) -> Encoding:
        encoding = encoding_of(tokens, {"poison": POISON, "not finite": NOT_FINITE}.get(fault or "", FIRST_GOOD))
        encoding.ids[1:] = FIRST_GOOD + number  # whose it is
        return encoding

    async def scenario() -> None:
        engine = ArithmeticEngine(token_buckets=(4, 7, 8, 12, LONGEST), seconds=engine_seconds)
        async with batching(engine, max_queued_tokens=max_queued_tokens, threads=threads) as batcher:
            refusals = await visit_all(batcher, clients, encode, assert_answers)
        assert not refusals or max_queued_tokens == 40
        assert all(seconds is not None and 0 < seconds <= 60 for seconds in refusals)
        for batch in engine.passes:
            buckets = {bucket_of(len(text), engine.token_buckets) for text in batch}
            assert min(buckets) >= 0.75 * max(buckets)

    in_time(scenario())


@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 16), st.booleans()), min_size=1, max_size=60),
    token_buckets=st.sampled_from([(4, 8, 16), (4, 7, 8, 12, 16)]),
)
def test_full_batches_go_first_then_the_shortest_but_none_waits_for_long(
    steps: list[tuple[int, int, bool]], token_buckets: tuple[int, ...]
) -> None:
    """Random arrivals and takes, each a few milliseconds after the other, on a clock of the test's own."""

    async def scenario() -> None:
        backlog = Backlog(largest_batch=4, max_batch_tokens=48, patience_seconds=0.05, patience_rounds=1.5)
        waiting: list[Item] = []
        taken: list[Item] = []
        now = 0.0
        for pause, tokens, take in [*steps, *[(0, 0, True)] * len(steps)]:
            now += pause / 1000
            if not take:
                bucket = bucket_of(tokens, token_buckets)
                outcome = asyncio.get_running_loop().create_future()
                waiting.append(Item(encoding_of(tokens).ids, bucket, now, now + PROMPT, outcome))
                backlog.add(waiting[-1:])
                continue
            rate, to_do = backlog.tokens_per_second, sum(item.bucket for item in waiting)
            patience = 0.05 if rate is None else min(0.05, 1.5 * to_do / rate)
            batch = backlog.take(now)
            assert bool(batch) == bool(waiting)
            if not batch:
                continue
            lengths = [item.bucket for item in batch]
            assert min(lengths) >= 0.75 * max(lengths)
            assert len(batch) <= 4
            assert len(batch) * max(lengths) <= 48
            for item in waiting:  # of one length, the older go
                if item not in batch:
                    assert all(item.entered >= other.entered for other in batch if other.bucket == item.bucket)
            if now - waiting[0].entered > patience:
                assert min(item.entered for item in batch) == waiting[0].entered
            else:
                room = min(4, 48 // max(lengths))
                assert len(batch) == room or min(lengths) == min(item.bucket for item in waiting)
            backlog.settle(batch, 0.01)
            taken += batch
            waiting = [item for item in waiting if item not in batch]
        assert waiting == []
        assert backlog.tokens == 0
        assert len(set(map(id, taken))) == len(taken)

    in_time(scenario())


def test_a_long_text_is_not_starved_by_a_stream_of_short_ones() -> None:
    async def scenario() -> None:
        engine = ArithmeticEngine(seconds=0.001)
        async with batching(engine) as batcher:

            async def stream() -> None:
                while True:
                    await batcher.submit(encoding_of(2), deadline=later())

            streams = [asyncio.create_task(stream()) for _ in range(40)]
            await until(lambda: len(engine.passes) > 3)
            before = len(engine.passes)
            await batcher.submit(encoding_of(16), deadline=later())
            # Fuller batches may go first for 50 ms, no more than one in a millisecond; then the 40 short texts that are
            # older, the batch that is under way, and its own.
            assert len(engine.passes) - before <= 50 + 12
            for task in streams:
                task.cancel()
            await asyncio.gather(*streams, return_exceptions=True)

    in_time(scenario())


def test_threads_run_batches_side_by_side() -> None:
    async def scenario() -> None:
        engine = ArithmeticEngine()
        engine.gate.clear()
        async with batching(engine, threads=3) as batcher:
            tasks = await admit(batcher, *(encoding_of(length) for length in (1, 5, 9)))
            await until(lambda: len(engine.passes) == 3)  # none of them is over yet
            assert not any(task.done() for task in tasks)
            engine.gate.set()
            await asyncio.gather(*tasks)

    in_time(scenario())


def test_an_idle_engine_gets_a_text_at_once() -> None:
    async def scenario() -> None:
        engine = ArithmeticEngine()
        async with batching(engine, probe_seconds=PROMPT) as batcher:
            for _ in range(3):
                await batcher.submit(encoding_of(3), deadline=later())
        assert engine.lengths == [[3], [3], [3]]

    in_time(scenario())


def test_padded_tokens_bound_a_batch_but_one_text_always_goes() -> None:
    async def scenario() -> None:
        engine = ArithmeticEngine()
        async with batching(engine, max_batch_tokens=9) as batcher:
            held = await occupy(engine, batcher)
            tasks = await admit(batcher, *(encoding_of(length) for length in (3, 3, 3, 16)))
            engine.gate.set()
            await asyncio.gather(held, *tasks)
        assert engine.lengths == [[1], [3, 3], [3], [16]]

    in_time(scenario())


def test_a_request_is_admitted_whole_or_not_at_all() -> None:
    async def scenario() -> None:
        engine = ArithmeticEngine(seconds=0.002)
        async with batching(engine, max_queued_tokens=20) as batcher:
            await batcher.submit(encoding_of(4), deadline=later())
            assert batcher.tokens_per_second is not None
            engine.passes.clear()
            held = await occupy(engine, batcher)
            [waiting] = await admit(batcher, encoding_of(8))
            assert batcher.queued_tokens == 4 + 8
            refused = [encoding_of(4), encoding_of(4), encoding_of(4)]
            with pytest.raises(Overloaded) as error:
                await batcher.submit_many(refused, deadline=later())
            assert error.value.retry_after == pytest.approx(max(0.1, 4 / batcher.tokens_per_second))
            assert batcher.queued_tokens == 4 + 8
            fitting = asyncio.create_task(batcher.submit_many(refused[:2], deadline=later()))
            await asyncio.sleep(0)
            assert batcher.queued_tokens == 20
            engine.gate.set()
            await asyncio.gather(held, waiting, fitting)
            assert not engine.saw(refused[2])
            assert batcher.queued_tokens == 0

    in_time(scenario())


def test_a_request_beyond_the_whole_budget_gets_in_when_nothing_waits() -> None:
    async def scenario() -> None:
        engine = ArithmeticEngine()
        large = [encoding_of(16) for _ in range(3)]
        async with batching(engine, max_queued_tokens=20) as batcher:
            assert len(await batcher.submit_many(large, deadline=later())) == 3
            engine.passes.clear()
            held = await occupy(engine, batcher)
            [waiting] = await admit(batcher, encoding_of(4))
            with pytest.raises(Overloaded):
                await batcher.submit_many(large, deadline=later())
            engine.gate.set()
            await asyncio.gather(held, waiting)
            assert len(await batcher.submit_many(large, deadline=later())) == 3

    in_time(scenario())


def test_a_full_queue_is_told_before_any_work_is_done() -> None:
    async def scenario() -> None:
        engine = ArithmeticEngine()
        async with batching(engine, max_queued_tokens=12) as batcher:
            batcher.refuse_if_full()
            held = await occupy(engine, batcher)
            batcher.refuse_if_full()
            [waiting] = await admit(batcher, encoding_of(8))
            with pytest.raises(Overloaded) as error:
                batcher.refuse_if_full()
            assert error.value.retry_after == 1.0  # nothing is measured yet
            engine.gate.set()
            await asyncio.gather(held, waiting)
            batcher.refuse_if_full()

    in_time(scenario())


def test_what_would_not_fit_is_told_before_any_work_is_done() -> None:
    async def scenario() -> None:
        engine = ArithmeticEngine()
        async with batching(engine, max_queued_tokens=32) as batcher:
            held = await occupy(engine, batcher)
            batcher.refuse_if_full(more=1000)  # nothing waits: even what is larger than the whole queue gets in
            [waiting] = await admit(batcher, encoding_of(4))
            room = 32 - batcher.queued_tokens
            batcher.refuse_if_full(more=room)
            with pytest.raises(Overloaded):
                batcher.refuse_if_full(more=room + 1)
            engine.gate.set()
            await asyncio.gather(held, waiting)

    in_time(scenario())


def test_an_expired_text_is_not_computed_and_its_tokens_are_free_again() -> None:
    async def scenario() -> None:
        engine = ArithmeticEngine()
        expired = encoding_of(5)
        async with batching(engine) as batcher:
            held = await occupy(engine, batcher)
            with pytest.raises(DeadlineExceeded, match=r"within 0\.01 seconds"):
                await batcher.submit(expired, deadline=later(0.01))
            assert batcher.queued_tokens == 4
            with pytest.raises(DeadlineExceeded):
                await batcher.submit(expired, deadline=later(-1))
            engine.gate.set()
            await held
            await batcher.submit(encoding_of(5), deadline=later())
        assert not engine.saw(expired)

    in_time(scenario())


def test_a_text_that_expires_before_its_client_notices_is_dropped_from_the_batch() -> None:
    async def scenario() -> None:
        backlog = Backlog(largest_batch=4, max_batch_tokens=64)
        outcomes = [asyncio.get_running_loop().create_future() for _ in range(4)]
        items = [
            Item(encoding_of(3).ids, 4, entered=0, deadline=deadline, outcome=outcome)
            for deadline, outcome in zip((1, 9, 2, 9), outcomes, strict=True)
        ]
        backlog.add(items)
        outcomes[1].cancel()
        assert backlog.take(5) == [items[3]]
        assert backlog.tokens == 4

    in_time(scenario())


def test_the_deadline_covers_compute() -> None:
    async def scenario() -> None:
        engine = ArithmeticEngine()
        engine.gate.clear()
        async with batching(engine) as batcher:
            with pytest.raises(DeadlineExceeded):
                await batcher.submit(encoding_of(5), deadline=later(0.02))
            engine.gate.set()
            await until(lambda: batcher.queued_tokens == 0)

    in_time(scenario())


def test_the_work_of_a_client_that_left_is_skipped_and_the_others_keep_their_answers() -> None:
    async def scenario() -> None:
        engine = ArithmeticEngine()
        encodings = [encoding_of(3, FIRST_GOOD + number) for number in range(6)]
        async with batching(engine) as batcher:
            held = await occupy(engine, batcher)
            tasks = await admit(batcher, *encodings)
            for leaving in (0, 3, 5):
                tasks[leaving].cancel()
            held.cancel()  # while it is computed
            await asyncio.sleep(0)
            assert batcher.queued_tokens == 4 + 3 * 4
            engine.gate.set()
            for staying in (1, 2, 4):
                assert_answers(await tasks[staying], encodings[staying])
            for leaving in (0, 3, 5):
                assert not engine.saw(encodings[leaving])

    in_time(scenario())


@pytest.mark.parametrize("poison", [POISON, NOT_FINITE])
def test_a_bad_text_fails_alone(poison: int) -> None:
    async def scenario() -> None:
        engine = ArithmeticEngine()
        encodings = [encoding_of(3), encoding_of(3, poison), encoding_of(4), encoding_of(2)]
        async with batching(engine) as batcher:
            held = await occupy(engine, batcher)
            tasks = await admit(batcher, *encodings)
            engine.gate.set()
            with pytest.raises(PredictionFailed) as error:
                await tasks[1]
            assert "poison" not in str(error.value)
            for good in (0, 2, 3):
                assert_answers(await tasks[good], encodings[good])
            await held
            assert batcher.healthy
            with pytest.raises(PredictionFailed):
                await batcher.submit(encodings[1], deadline=later())
            assert batcher.healthy

    in_time(scenario())


def test_a_client_that_left_is_not_tried_again() -> None:
    async def scenario() -> None:
        engine = ArithmeticEngine()
        async with batching(engine) as batcher:
            held = await occupy(engine, batcher)
            tasks = await admit(batcher, encoding_of(3, POISON), encoding_of(3), encoding_of(3))
            engine.seconds = 0.05
            engine.gate.set()
            await held
            await until(lambda: len(engine.passes) == 2)
            tasks[1].cancel()
            await asyncio.wait(tasks)
        assert engine.lengths == [[1], [3, 3, 3], [3], [3]]

    in_time(scenario())


@pytest.mark.parametrize("fault", [RuntimeError("device lost"), MemoryError(), SystemExit(1), StopIteration()])
def test_a_broken_engine_fails_its_clients_and_is_tried_until_it_works(fault: BaseException) -> None:
    async def scenario() -> None:
        engine = ArithmeticEngine(broken=fault)
        async with batching(engine) as batcher:
            with pytest.raises(PredictionFailed):
                await batcher.submit(encoding_of(3), deadline=later())
            assert not batcher.healthy
            engine.broken = None
            await until(lambda: batcher.healthy)
            assert engine.passes[-1][0].tolist() == [UNKNOWN_ID]
            await batcher.submit(encoding_of(3), deadline=later())

    in_time(scenario())


def test_too_few_results_are_no_answers() -> None:
    class Forgetful(ArithmeticEngine):
        def run(self, ids: Sequence[np.ndarray]) -> list[Result]:
            return super().run(ids)[: max(1, len(ids) - 1)]

    async def scenario() -> None:
        engine = Forgetful()
        encodings = [encoding_of(3, FIRST_GOOD + number) for number in range(3)]
        async with batching(engine) as batcher:
            answers = await batcher.submit_many(encodings, deadline=later())
            for answer, encoding in zip(answers, encodings, strict=True):
                assert_answers(answer, encoding)

    in_time(scenario())


def test_closing_finishes_what_is_queued() -> None:
    async def scenario() -> None:
        engine = ArithmeticEngine()
        async with batching(engine) as batcher:
            held = await occupy(engine, batcher)
            tasks = await admit(batcher, *(encoding_of(length) for length in (1, 5, 9, 2, 3, 1)))
            closing = asyncio.create_task(batcher.close(PROMPT))
            await asyncio.sleep(0)
            with pytest.raises(NotReady):
                await batcher.submit(encoding_of(1), deadline=later())
            engine.gate.set()
            await closing
            assert len(await asyncio.gather(held, *tasks)) == 7

    in_time(scenario())


def test_closing_fails_what_is_not_finished_in_time() -> None:
    async def scenario() -> None:
        engine = ArithmeticEngine()
        async with batching(engine) as batcher:
            tasks = [await occupy(engine, batcher), *await admit(batcher, encoding_of(3), encoding_of(9))]
            await batcher.close(0.02)
            for task in tasks:
                with pytest.raises(NotReady, match="shutting down"):
                    await task
            assert len(engine.passes) == 1

    in_time(scenario())


def test_a_batcher_that_is_not_started_says_so() -> None:
    async def scenario() -> None:
        batcher = Batcher(PythonCrew(ArithmeticEngine(), max_queued_tokens=10, max_batch_tokens=10))
        with pytest.raises(NotReady, match="not started"):
            await batcher.submit(encoding_of(1), deadline=later())
        await batcher.close(0)

    in_time(scenario())


def test_clients_do_not_hang_on_an_engine_whose_thread_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        engine = ArithmeticEngine()
        async with batching(engine) as batcher:
            held = await occupy(engine, batcher)
            tasks = await admit(batcher, encoding_of(3), encoding_of(9))
            monkeypatch.setattr(Backlog, "take", lambda backlog, now: 1 / 0)
            engine.gate.set()
            assert isinstance(await held, Answer)
            for task in tasks:
                with pytest.raises(NotReady, match="engine has stopped"):
                    await task
            with pytest.raises(NotReady, match="engine has stopped"):
                await batcher.submit(encoding_of(1), deadline=later())
            assert not batcher.healthy

    in_time(scenario())


def test_a_text_longer_than_the_largest_bucket_is_refused_before_the_queue() -> None:
    async def scenario() -> None:
        async with batching(ArithmeticEngine()) as batcher:
            with pytest.raises(ValueError, match="Expected at most 16 tokens"):
                await batcher.submit_many([encoding_of(3), encoding_of(17)], deadline=later())
            assert batcher.queued_tokens == 0

    in_time(scenario())
