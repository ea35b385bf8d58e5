"""The batcher with an engine of plain arithmetic, which can be slow, stopped, poisoned and broken at will."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.tokenizer import UNKNOWN_ID, Encoding
from service.inference.batcher import Batcher
from service.inference.engine import Result, bucket_of
from service.inference.errors import DeadlineExceeded, NotReady, Overloaded, PredictionFailed
from service.inference.queue import Admission, Answer

pytestmark = pytest.mark.anyio

PROMPT = 20.0  # seconds: a test that waits so long for something that comes at once has failed
LONGEST = 16  # tokens
POISON, NOT_FINITE = 7, 8
FIRST_GOOD = 10
FAULTS = {"poison": POISON, "not finite": NOT_FINITE}


@dataclass
class ArithmeticEngine:
    """Answers with the ids themselves, so that an answer shows whose it is."""

    buckets: Sequence[int] = (4, 8, LONGEST)
    seconds: float = 0.0
    broken: BaseException | None = None
    passes: list[list[np.ndarray]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def warm(self) -> Iterator[None]:
        yield

    def facts(self) -> Mapping[str, float]:
        return {}

    def close(self) -> None:
        pass

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
async def batching(
    engine: ArithmeticEngine, admission: Admission | None = None, max_queued_tokens: int = 10_000, **options: Any
) -> AsyncIterator[Batcher]:
    usual = {"largest_batch": 4, "max_batch_tokens": 64, "probe_seconds": 0.01}
    batcher = Batcher(engine, admission or Admission(max_queued_tokens), **(usual | options))
    batcher.start()
    try:
        async with asyncio.timeout(PROMPT):
            yield batcher
    finally:
        engine.gate.set()
        await batcher.close(PROMPT)


def later(seconds: float = PROMPT) -> float:
    return asyncio.get_running_loop().time() + seconds


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def submit(batcher: Batcher, encoding: Encoding, seconds: float = PROMPT) -> Answer:
    [answer] = await batcher.submit_many([encoding], deadline=later(seconds))
    return answer


async def admit(batcher: Batcher, *encodings: Encoding, seconds: float = PROMPT) -> list[asyncio.Task[Answer]]:
    """Submit each as a client of its own, in this order, and return when all are admitted."""
    tasks = []
    for encoding in encodings:
        tasks.append(asyncio.create_task(submit(batcher, encoding, seconds)))
        await asyncio.sleep(0)
    return tasks


async def occupy(engine: ArithmeticEngine, batcher: Batcher) -> asyncio.Task[Answer]:
    """Hold the engine with one text until its gate is set."""
    engine.gate.clear()
    [task] = await admit(batcher, encoding_of(1))
    await until(lambda: len(engine.passes) == 1)
    return task


@dataclass(frozen=True)
class Client:
    arrives: float
    texts: tuple[tuple[int, str | None], ...]  # tokens and fault of each
    leaves_after: float | None
    deadline: float


milliseconds = st.integers(0, 12).map(lambda count: count / 1000)
clients = st.lists(
    st.builds(
        Client,
        arrives=milliseconds,
        texts=st.lists(
            st.tuples(st.integers(0, LONGEST), st.sampled_from([None] * 8 + [*FAULTS])), min_size=1, max_size=5
        ).map(tuple),
        leaves_after=st.none() | milliseconds,
        deadline=st.sampled_from([PROMPT, PROMPT, 0.003]),
    ),
    min_size=1,
    max_size=25,
)


async def visit(batcher: Batcher, number: int, client: Client) -> float | None:
    """Let a client come, and see that it gets what is its own; the `retry_after` if it was refused."""
    encodings = [encoding_of(tokens, FAULTS.get(fault or "", FIRST_GOOD)) for tokens, fault in client.texts]
    for encoding in encodings:
        encoding.ids[1:] = FIRST_GOOD + number  # whose it is
    faulty = any(tokens and fault for tokens, fault in client.texts)
    await asyncio.sleep(client.arrives)
    asked = asyncio.create_task(batcher.submit_many(encodings, deadline=later(client.deadline)))
    if client.leaves_after is not None:
        asyncio.get_running_loop().call_later(client.leaves_after, asked.cancel)
    try:
        answers = await asked
    except PredictionFailed:
        assert faulty
    except DeadlineExceeded:
        assert client.deadline < PROMPT
    except asyncio.CancelledError:
        assert client.leaves_after is not None
    except Overloaded as error:
        return error.retry_after
    else:
        assert not faulty
        for answer, encoding in zip(answers, encodings, strict=True):
            assert_answers(answer, encoding)
    return None


@settings(max_examples=100, deadline=None)
@given(
    clients=clients,
    engine_seconds=st.sampled_from([0, 0, 0.0005, 0.003]),
    max_queued_tokens=st.sampled_from([40, 10_000]),
    threads=st.sampled_from([1, 3]),
)
async def test_nothing_is_lost_or_mixed_up(
    clients: list[Client], engine_seconds: float, max_queued_tokens: int, threads: int
) -> None:
    engine = ArithmeticEngine(buckets=(4, 7, 8, 12, LONGEST), seconds=engine_seconds)
    admission = Admission(max_queued_tokens)
    async with batching(engine, admission, threads=threads) as batcher:
        refusals = await asyncio.gather(*(visit(batcher, *each) for each in enumerate(clients)))
        await until(lambda: batcher.queued_tokens == 0)
        assert batcher.healthy
    assert admission.waiting_tokens == admission.running_tokens == 0
    for seconds in refusals:
        assert seconds is None or (max_queued_tokens == 40 and 0 < seconds <= 60)
    for batch in engine.passes:
        assert len({bucket_of(len(text), engine.buckets) for text in batch}) == 1


async def test_a_long_text_is_not_starved_by_a_stream_of_short_ones() -> None:
    engine = ArithmeticEngine(seconds=0.001)
    async with batching(engine) as batcher:

        async def stream() -> None:
            while True:
                await submit(batcher, encoding_of(2))

        streams = [asyncio.create_task(stream()) for _ in range(40)]
        await until(lambda: len(engine.passes) > 3)
        before = len(engine.passes)
        await submit(batcher, encoding_of(16))
        # The short texts that are older, the batch that is under way, and its own.
        assert len(engine.passes) - before <= 12
        for task in streams:
            task.cancel()
        await asyncio.gather(*streams, return_exceptions=True)


async def test_threads_run_batches_side_by_side() -> None:
    engine = ArithmeticEngine()
    engine.gate.clear()
    async with batching(engine, threads=3) as batcher:
        tasks = await admit(batcher, *(encoding_of(length) for length in (1, 5, 9)))
        await until(lambda: len(engine.passes) == 3)  # none of them is over yet
        assert not any(task.done() for task in tasks)
        engine.gate.set()
        await asyncio.gather(*tasks)


async def test_an_idle_engine_gets_a_text_at_once() -> None:
    engine = ArithmeticEngine()
    async with batching(engine, probe_seconds=PROMPT) as batcher:
        for _ in range(3):
            await submit(batcher, encoding_of(3))
    assert engine.lengths == [[3], [3], [3]]


async def test_padded_tokens_bound_a_batch_but_one_text_always_goes() -> None:
    engine = ArithmeticEngine()
    async with batching(engine, max_batch_tokens=9) as batcher:
        held = await occupy(engine, batcher)
        tasks = await admit(batcher, *(encoding_of(length) for length in (3, 3, 3, 16)))
        engine.gate.set()
        await asyncio.gather(held, *tasks)
    assert engine.lengths == [[1], [3, 3], [3], [16]]


async def test_a_request_is_admitted_whole_or_not_at_all() -> None:
    engine = ArithmeticEngine(seconds=0.002)
    admission = Admission(20)
    async with batching(engine, admission) as batcher:
        await submit(batcher, encoding_of(4))
        assert admission.tokens_per_second is not None
        engine.passes.clear()
        held = await occupy(engine, batcher)
        [waiting] = await admit(batcher, encoding_of(8))
        assert batcher.queued_tokens == 4 + 8
        refused = [encoding_of(4), encoding_of(4), encoding_of(4)]
        with pytest.raises(Overloaded) as error:
            await batcher.submit_many(refused, deadline=later())
        assert error.value.retry_after == pytest.approx(max(0.1, 4 / admission.tokens_per_second))
        assert batcher.queued_tokens == 4 + 8
        fitting = asyncio.create_task(batcher.submit_many(refused[:2], deadline=later()))
        await asyncio.sleep(0)
        assert batcher.queued_tokens == 20
        engine.gate.set()
        await asyncio.gather(held, waiting, fitting)
        assert not engine.saw(refused[2])
        assert batcher.queued_tokens == 0


async def test_a_request_beyond_the_whole_budget_gets_in_when_nothing_waits() -> None:
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


async def test_an_expired_text_is_not_computed_and_its_tokens_are_free_again() -> None:
    engine = ArithmeticEngine()
    expired = encoding_of(5)
    async with batching(engine) as batcher:
        held = await occupy(engine, batcher)
        with pytest.raises(DeadlineExceeded, match=r"within 0\.01 seconds"):
            await submit(batcher, expired, 0.01)
        assert batcher.queued_tokens == 4
        with pytest.raises(DeadlineExceeded):
            await submit(batcher, expired, -1)
        engine.gate.set()
        await held
        await submit(batcher, encoding_of(5))
    assert not engine.saw(expired)


async def test_the_deadline_covers_compute() -> None:
    engine = ArithmeticEngine()
    engine.gate.clear()
    async with batching(engine) as batcher:
        with pytest.raises(DeadlineExceeded):
            await submit(batcher, encoding_of(5), 0.02)
        engine.gate.set()
        await until(lambda: batcher.queued_tokens == 0)


async def test_the_work_of_a_client_that_left_is_skipped_and_the_others_keep_their_answers() -> None:
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


@pytest.mark.parametrize("poison", [POISON, NOT_FINITE])
async def test_a_bad_text_fails_alone(poison: int) -> None:
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
            await submit(batcher, encodings[1])
        assert batcher.healthy


async def test_a_client_that_left_is_not_tried_again() -> None:
    engine = ArithmeticEngine()
    async with batching(engine) as batcher:
        held = await occupy(engine, batcher)
        tasks = await admit(batcher, encoding_of(3, POISON), encoding_of(3), encoding_of(3))
        engine.seconds = 0.05
        engine.gate.set()
        await held
        await until(lambda: len(engine.passes) == 2)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert engine.lengths == [[1], [3, 3, 3], [3], [3]]


@pytest.mark.parametrize("fault", [RuntimeError("device lost"), MemoryError(), SystemExit(1), StopIteration()])
async def test_a_broken_engine_fails_its_clients_and_is_tried_until_it_works(fault: BaseException) -> None:
    engine = ArithmeticEngine(broken=fault)
    async with batching(engine) as batcher:
        with pytest.raises(PredictionFailed):
            await submit(batcher, encoding_of(3))
        assert not batcher.healthy
        engine.broken = None
        await until(lambda: batcher.healthy)
        assert engine.passes[-1][0].tolist() == [UNKNOWN_ID]
        await submit(batcher, encoding_of(3))


async def test_too_few_results_are_no_answers() -> None:
    class Forgetful(ArithmeticEngine):
        def run(self, ids: Sequence[np.ndarray]) -> list[Result]:
            return super().run(ids)[: max(1, len(ids) - 1)]

    engine = Forgetful()
    encodings = [encoding_of(3, FIRST_GOOD + number) for number in range(3)]
    async with batching(engine) as batcher:
        answers = await batcher.submit_many(encodings, deadline=later())
        for answer, encoding in zip(answers, encodings, strict=True):
            assert_answers(answer, encoding)


async def test_closing_finishes_what_is_queued() -> None:
    engine = ArithmeticEngine()
    async with batching(engine) as batcher:
        held = await occupy(engine, batcher)
        tasks = await admit(batcher, *(encoding_of(length) for length in (1, 5, 9, 2, 3, 1)))
        closing = asyncio.create_task(batcher.close(PROMPT))
        await asyncio.sleep(0)
        with pytest.raises(NotReady):
            await submit(batcher, encoding_of(1))
        engine.gate.set()
        await closing
        assert len(await asyncio.gather(held, *tasks)) == 7


async def test_closing_fails_what_is_not_finished_in_time() -> None:
    engine = ArithmeticEngine()
    async with batching(engine) as batcher:
        tasks = [await occupy(engine, batcher), *await admit(batcher, encoding_of(3), encoding_of(9))]
        await batcher.close(0.02)
        for task in tasks:
            with pytest.raises(NotReady, match="shutting down"):
                await task
        assert len(engine.passes) == 1


async def test_a_batcher_that_is_not_started_says_so() -> None:
    batcher = Batcher(ArithmeticEngine(), Admission(10), largest_batch=4, max_batch_tokens=10)
    with pytest.raises(NotReady, match="not started"):
        await submit(batcher, encoding_of(1))
    await batcher.close(0)


@pytest.mark.parametrize("fault", ["service.inference.queue.Queue.take", "service.inference.batcher.run_isolated"])
async def test_a_fault_in_a_worker_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    engine, admission = ArithmeticEngine(), Admission(10_000)
    async with batching(engine, admission) as batcher:
        held = await occupy(engine, batcher)
        tasks = await admit(batcher, encoding_of(3), encoding_of(9))
        monkeypatch.setattr(fault, lambda *arguments: 1 / 0)
        engine.gate.set()
        assert isinstance(await held, Answer)
        for task in tasks:
            with pytest.raises(NotReady, match="engine has stopped"):
                await task
        with pytest.raises(NotReady, match="engine has stopped"):
            await submit(batcher, encoding_of(1))
        assert not batcher.healthy
        assert admission.waiting_tokens == admission.running_tokens == 0


async def test_the_models_of_a_process_share_one_admission() -> None:
    engine, other, admission = ArithmeticEngine(), ArithmeticEngine(), Admission(20)
    async with batching(engine, admission) as batcher, batching(other, admission) as beside:
        held = await occupy(engine, batcher)
        [waiting] = await admit(batcher, encoding_of(16))
        with pytest.raises(Overloaded):
            await submit(beside, encoding_of(1))
        engine.gate.set()
        await asyncio.gather(held, waiting)
        await submit(beside, encoding_of(1))


async def test_a_text_longer_than_the_largest_bucket_is_refused_before_the_queue() -> None:
    async with batching(ArithmeticEngine()) as batcher:
        with pytest.raises(ValueError, match="Expected at most 16 tokens"):
            await batcher.submit_many([encoding_of(3), encoding_of(17)], deadline=later())
        assert batcher.queued_tokens == 0
