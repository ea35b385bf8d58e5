"""The queue of one model, and the admission in front of it."""

import asyncio
import math
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.inference.errors import Overloaded
from service.inference.queue import Admission, Item, Queue

pytestmark = pytest.mark.anyio


def items_of(buckets: Sequence[int], entered: float = 0.0, deadline: float = math.inf) -> list[Item]:
    loop = asyncio.get_running_loop()
    return [Item(np.zeros(bucket, np.int32), bucket, entered, deadline, loop.create_future()) for bucket in buckets]


def queue_of(admission: Admission) -> Queue:
    return Queue(admission, largest_batch=4, max_batch_tokens=48)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([4, 8, 16, None]), max_size=60))
async def test_the_oldest_text_goes_first_with_others_of_its_length(arrivals: list[int | None]) -> None:
    admission = Admission(100_000)
    queue = queue_of(admission)
    waiting: list[Item] = []
    for moment, bucket in enumerate([*arrivals, *[None] * len(arrivals)]):
        if bucket is not None:
            waiting += items_of([bucket], moment)
            queue.add(waiting[-1:])
            continue
        batch = queue.take(timeout=0)
        assert batch is not None
        if waiting:
            alike = [item for item in waiting if item.bucket == waiting[0].bucket]
            assert batch == alike[: {4: 4, 8: 4, 16: 3}[waiting[0].bucket]]
            assert admission.running_tokens == batch[0].bucket * len(batch)
            queue.settle(batch, 0.01)
            waiting = [item for item in waiting if item not in batch]
    assert waiting == queue.unanswered == []
    assert admission.waiting_tokens == admission.running_tokens == 0


async def test_what_nobody_waits_for_is_dropped_from_the_batch() -> None:
    admission = Admission(100)
    queue = queue_of(admission)
    items = [*items_of([4], deadline=time.monotonic()), *items_of([4, 4, 4])]
    queue.add(items)
    items[1].outcome.cancel()
    queue.discard(items[2:3])
    assert admission.waiting_tokens == 12
    assert queue.take(timeout=0) == items[3:]
    assert (admission.waiting_tokens, admission.running_tokens) == (0, 4)


async def test_a_closed_queue_hands_out_what_it_has_and_then_nothing() -> None:
    queue = queue_of(Admission(100))
    queue.add(items_of([4]))
    queue.close()
    assert queue.take(timeout=None)
    assert queue.take(timeout=None) is None


def test_a_full_service_is_told_with_the_time_until_there_is_room() -> None:
    admission = Admission(12)
    admission.reserve(8)
    with pytest.raises(Overloaded) as error:
        admission.reserve(5)
    assert error.value.retry_after == 1.0  # nothing is measured yet
    admission.begin(8)
    admission.end(8, seconds=4)
    admission.reserve(11)
    with pytest.raises(Overloaded) as error:
        admission.reserve(2)
    assert error.value.retry_after == pytest.approx(1 / 2)
    admission.release(11)
    admission.reserve(1000)  # nothing waits: even what is larger than the whole budget gets in
    with pytest.raises(Overloaded) as error:
        admission.reserve(1)
    assert error.value.retry_after == 60, "at most"


def test_requests_on_their_way_to_the_queue_count_until_they_are_forgotten() -> None:
    admission = Admission(12)
    assert admission.expect(8) == 6, "a large request counts as half the budget"
    assert admission.expect(6) == 6
    with pytest.raises(Overloaded):
        admission.expect(1)
    admission.reserve(12)  # of the same requests
    admission.forget(6)
    with pytest.raises(Overloaded):
        admission.expect(1)
    admission.begin(12)
    admission.end(12, seconds=1)
    assert admission.expect(5) == 5
    admission.forget(5)
    admission.forget(6)
    assert admission.expected_tokens == 0


@given(tokens=st.integers(1, 10**9), rate=st.floats(1e-3, 1e9))
def test_nobody_is_told_to_wait_for_no_time_or_for_ever(tokens: int, rate: float) -> None:
    admission = Admission(1)
    admission.reserve(1)
    admission.tokens_per_second = rate
    with pytest.raises(Overloaded) as error:
        admission.reserve(tokens)
    assert error.value.retry_after is not None
    assert 0.1 <= error.value.retry_after <= 60
