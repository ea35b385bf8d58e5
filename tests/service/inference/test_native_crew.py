"""The batcher with the crew in C and a real model, which can be poisoned in one of its tokens."""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from models.tokenizer import Encoding
from service.inference.batcher import Batcher
from service.inference.errors import DeadlineExceeded, HeedError, NotReady, Overloaded, PredictionFailed
from service.inference.loading import crew_of, open_engine
from service.inference.native_classifier import NativeClassifier
from service.inference.native_crew import NativeCrew
from service.inference.native_engine import NativeEngine
from service.inference.python_crew import PythonCrew
from service.inference.queue import Answer, Backlog, Item
from service.inference.shapes import bucket_of
from service.settings import Settings
from tests.service.clients import LONGEST, PROMPT, Client, clients, in_time, later, until, visit_all
from tests.service.poison import FIRST_GOOD, POISON, poisoned_engine
from tests.tiny_bundle import build_tiny_bundle


@pytest.fixture(scope="module")
def engine(native_folder: Path) -> NativeEngine:
    return poisoned_engine(native_folder, token_buckets=(4, 7, 8, 12, LONGEST))


def encoding_of(ids: Sequence[int]) -> Encoding:
    offsets = np.arange(len(ids), dtype=np.int32)
    return Encoding(np.array(ids, np.int32), offsets, offsets + 1, 0, len(ids))


def encode(engine: NativeEngine, number: int, tokens: int, fault: str | None = None) -> Encoding:
    """A text that no other number has."""
    last = engine.bundle.tokenizer.vocabulary_size
    ids = np.random.default_rng(number).integers(FIRST_GOOD, last, tokens)
    if fault:
        ids[:1] = {"not finite": POISON, "poison": last}[fault]
    return encoding_of(ids.tolist())


def assert_answers(engine: NativeEngine, answer: Answer, encoding: Encoding) -> None:
    [alone] = engine.run([encoding.ids])
    for name in ("logits", "attention", "contributions"):
        np.testing.assert_array_equal(getattr(answer.result, name), getattr(alone, name))
    assert answer.queue_seconds >= 0
    assert answer.compute_seconds > 0


@contextlib.asynccontextmanager
async def batching(engine: NativeEngine, **options: Any) -> AsyncIterator[Batcher]:
    usual = {"threads": 2, "max_queued_tokens": 10_000, "max_batch_tokens": 64, "probe_seconds": 0.01}
    batcher = Batcher(NativeCrew(engine, **(usual | options)))
    await batcher.start()
    try:
        yield batcher
    finally:
        await batcher.close(PROMPT)


@settings(max_examples=100, deadline=None)
@given(clients=clients, max_queued_tokens=st.sampled_from([40, 10_000]), threads=st.sampled_from([1, 3]))
def test_nothing_is_lost_or_mixed_up(
    engine: NativeEngine, clients: list[Client], max_queued_tokens: int, threads: int
) -> None:
    async def scenario() -> None:
        async with batching(engine, max_queued_tokens=max_queued_tokens, threads=threads) as batcher:
            refusals = await visit_all(batcher, clients, partial(encode, engine), partial(assert_answers, engine))
        assert not refusals or max_queued_tokens == 40
        assert all(seconds is not None and 0 < seconds <= 60 for seconds in refusals)

    in_time(scenario())


@pytest.mark.parametrize(("patience_seconds", "patience_rounds"), [(0.0, math.inf), (1000.0, math.inf), (1000.0, 1e-4)])
@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(0, LONGEST), min_size=1, max_size=60), max_batch_tokens=st.sampled_from([8, 24, 64])
)
def test_texts_go_together_as_in_python(
    engine: NativeEngine, patience_seconds: float, patience_rounds: float, lengths: list[int], max_batch_tokens: int
) -> None:
    """All of them are there before the only thread begins. Once a batch was measured, few rounds are over at once."""
    rules = {
        "max_batch_tokens": max_batch_tokens,
        "patience_seconds": patience_seconds,
        "patience_rounds": patience_rounds,
    }
    backlog = Backlog(largest_batch=4, **rules)

    async def scenario() -> None:
        crew = NativeCrew(engine, threads=1, max_queued_tokens=10_000, **rules)
        items = []
        for number, tokens in enumerate(lengths):
            ids, bucket = encode(engine, number, tokens).ids, bucket_of(tokens, engine.token_buckets)
            items.append(Item(ids, bucket, number, PROMPT + len(lengths), asyncio.get_running_loop().create_future()))
            backlog.add(items[-1:])
        expected = []
        while batch := backlog.take(len(lengths)):
            backlog.settle(batch, 1.0)
            expected.append(batch)
        crew.admit(items)
        finished: list[Item] = []
        for item in items:
            item.outcome.add_done_callback(lambda _, item=item: finished.append(item))
        crew.start()
        crew.close()
        await crew.ended()
        await asyncio.sleep(0)
        assert finished == [item for batch in expected for item in batch]
        for batch in expected:
            assert len({item.outcome.result().compute_seconds for item in batch}) == 1

    in_time(scenario())


def test_short_texts_need_not_wait_for_the_end_of_a_long_pass(
    tmp_path: Path, compiled: None, any_processor: None
) -> None:
    """The only thread is in the middle of one when they come; what it says of the long text stays the same."""
    most = 2**16
    folder = build_tiny_bundle(tmp_path, encoder="bilstm", encoder_units=64, max_tokens=most)
    engine = poisoned_engine(folder, token_buckets=(16, 64, 128, most))
    long, middling, short = (encode(engine, number, tokens) for number, tokens in enumerate((most, 100, 10)))
    bad = encode(engine, 3, 10, "not finite")

    async def scenario() -> None:
        crew = NativeCrew(engine, threads=1, max_queued_tokens=2 * most, max_batch_tokens=64)
        finished: list[Encoding] = []

        def admit(encoding: Encoding) -> "asyncio.Future[Answer | HeedError]":
            outcome = asyncio.get_running_loop().create_future()
            outcome.add_done_callback(lambda _: finished.append(encoding))
            bucket = bucket_of(len(encoding.ids), engine.token_buckets)
            crew.admit([Item(encoding.ids, bucket, 0, PROMPT, outcome)])
            return outcome

        crew.start()
        outcomes = [admit(long)]
        await until(lambda: crew.waiting_tokens == 0)
        outcomes += map(admit, (middling, short, bad))
        of_long, of_middling, of_short, of_bad = await asyncio.gather(*outcomes)
        assert [id(encoding) for encoding in finished] == [id(encoding) for encoding in (short, bad, long, middling)]
        for outcome, encoding in ((of_long, long), (of_middling, middling), (of_short, short)):
            assert isinstance(outcome, Answer)
            assert_answers(engine, outcome, encoding)
        assert isinstance(of_bad, PredictionFailed)
        assert crew.tokens == 0
        crew.close()
        await crew.ended()

    in_time(scenario())


@pytest.mark.parametrize(("fault", "logged"), [("poison", 1), ("not finite", 0)])
def test_a_bad_text_fails_alone(engine: NativeEngine, fault: str, logged: int) -> None:
    """All four are there before the only thread begins: they are one batch."""

    async def scenario() -> None:
        crew = NativeCrew(engine, threads=1, max_queued_tokens=10_000, max_batch_tokens=64)
        encodings = [encode(engine, number, 8, fault if number == 2 else None) for number in range(4)]
        futures = [asyncio.get_running_loop().create_future() for _ in encodings]
        crew.admit([Item(text.ids, 8, 0, PROMPT, outcome) for text, outcome in zip(encodings, futures, strict=True)])
        with capture_logs() as lines:
            crew.start()
            outcomes = await asyncio.gather(*futures)
        for number, (outcome, encoding) in enumerate(zip(outcomes, encodings, strict=True)):
            if number == 2:
                assert isinstance(outcome, PredictionFailed)
            else:
                assert isinstance(outcome, Answer)
                assert_answers(engine, outcome, encoding)
        assert len({outcome.compute_seconds for outcome in outcomes if isinstance(outcome, Answer)}) == 1
        assert [line["event"] for line in lines] == ["forward pass failed"] * logged
        assert crew.healthy
        crew.close()
        await crew.ended()

    in_time(scenario())


@pytest.fixture
def nobody(engine: NativeEngine) -> Iterator[Any]:
    """A batcher whose crew has no thread: what is admitted waits."""
    return lambda **options: batching(engine, **({"threads": 0} | options))


def test_a_text_that_expires_makes_room(engine: NativeEngine, nobody: Any) -> None:
    async def scenario() -> None:
        async with nobody() as batcher:
            asked = asyncio.create_task(batcher.submit(encode(engine, 1, 5), deadline=later(0.01)))
            await asyncio.sleep(0)
            assert batcher.queued_tokens == 7
            with pytest.raises(DeadlineExceeded):
                await asked
            assert batcher.queued_tokens == 0

    in_time(scenario())


def test_a_client_that_leaves_makes_room(engine: NativeEngine, nobody: Any) -> None:
    async def scenario() -> None:
        async with nobody() as batcher:
            texts = [encode(engine, 1, 5), encode(engine, 2, 16)]
            asked = asyncio.create_task(batcher.submit_many(texts, deadline=later()))
            await asyncio.sleep(0)
            assert batcher.queued_tokens == 7 + 16
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            assert batcher.queued_tokens == 0

    in_time(scenario())


def test_what_does_not_fit_is_refused_whole(engine: NativeEngine, nobody: Any) -> None:
    async def scenario() -> None:
        async with nobody(max_queued_tokens=20) as batcher:
            batcher.refuse_if_full(more=1000)
            asked = asyncio.create_task(batcher.submit(encode(engine, 1, 16), deadline=later()))
            await asyncio.sleep(0)
            batcher.refuse_if_full(more=4)
            with pytest.raises(Overloaded):
                batcher.refuse_if_full(more=5)
            with pytest.raises(Overloaded):
                await batcher.submit_many([encode(engine, 2, 4), encode(engine, 3, 4)], deadline=later())
            assert batcher.queued_tokens == 16
            asked.cancel()

    in_time(scenario())


def test_closing_fails_what_is_not_finished_in_time(engine: NativeEngine, nobody: Any) -> None:
    async def scenario() -> None:
        async with nobody() as batcher:
            asked = asyncio.create_task(batcher.submit(encode(engine, 1, 5), deadline=later()))
            await asyncio.sleep(0)
            await batcher.close(0.01)
            with pytest.raises(NotReady, match="shutting down"):
                await asked
            assert batcher.queued_tokens == 0

    in_time(scenario())


def test_closing_finishes_what_is_queued(engine: NativeEngine) -> None:
    async def scenario() -> None:
        async with batching(engine) as batcher:
            encodings = [encode(engine, number, number % LONGEST) for number in range(200)]
            asked = asyncio.create_task(batcher.submit_many(encodings, deadline=later()))
            await asyncio.sleep(0)
            await batcher.close(PROMPT)
            for answer, encoding in zip(await asked, encodings, strict=True):
                assert_answers(engine, answer, encoding)

    in_time(scenario())


def test_a_sick_engine_is_tried_until_it_works(engine: NativeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    probes: list[float] = []

    def fail(classifier: NativeClassifier, ids: Sequence[np.ndarray]) -> None:
        probes.append(time.monotonic())
        raise ArithmeticError

    async def scenario() -> None:
        async with batching(engine, probe_seconds=0.05) as batcher:
            with monkeypatch.context() as patch:
                patch.setattr(NativeClassifier, "__call__", fail)
                for _ in range(30):
                    with pytest.raises(PredictionFailed):
                        await batcher.submit(encode(engine, 1, 5, "not finite"), deadline=later())
                assert not batcher.healthy
                probes.clear()
                await asyncio.sleep(0.5)
                assert 1 <= len(probes) <= 11  # however many texts have failed, one at a time
                assert not batcher.healthy
            await until(lambda: batcher.healthy)

    in_time(scenario())


def test_the_rate_is_known_after_the_first_batch(engine: NativeEngine) -> None:
    async def scenario() -> None:
        async with batching(engine) as batcher:
            assert batcher.tokens_per_second is None
            await batcher.submit(encode(engine, 1, 5), deadline=later())
            assert batcher.tokens_per_second is not None
            assert batcher.tokens_per_second > 0

    in_time(scenario())


def test_engines_that_it_is_not_for_have_another_crew(native_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        usual = Settings()
        engine = open_engine(native_folder, usual)
        assert isinstance(crew_of(engine, usual), NativeCrew)
        monkeypatch.setattr("service.inference.native_crew.MOST_BUCKETS", len(engine.token_buckets) - 1)
        assert isinstance(crew_of(engine, usual), PythonCrew)

    in_time(scenario())
