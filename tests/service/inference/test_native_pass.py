"""A forward pass in C that threads share, with a real model."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from service.inference.engine import Result
from service.inference.errors import PredictionFailed
from service.inference.isolation import FAILED, NOT_FINITE
from service.inference.native_engine import NativeEngine
from service.inference.native_pass import SharedPass
from tests.service.poison import FIRST_GOOD, POISON, poisoned_engine

LONGEST = 40
FAULTS = {"not finite": NOT_FINITE, "no token": FAILED}


@pytest.fixture(scope="module")
def engine(native_folder: Path) -> NativeEngine:
    return poisoned_engine(native_folder, token_buckets=(LONGEST,))


def text_of(engine: NativeEngine, number: int, tokens: int, fault: str | None) -> np.ndarray:
    last = engine.bundle.tokenizer.vocabulary_size
    ids = np.random.default_rng(number).integers(FIRST_GOOD, last, tokens).astype(np.int32)
    if fault:
        ids[-1] = {"not finite": POISON, "no token": last}[fault]
    return ids


@settings(max_examples=100, deadline=None)
@given(
    texts=st.lists(
        st.tuples(st.integers(1, LONGEST), st.sampled_from([None, None, None, *FAULTS])), min_size=1, max_size=60
    ),
    threads=st.integers(1, 4),
)
def test_every_text_is_classified_once_as_it_is_alone(
    engine: NativeEngine, texts: list[tuple[int, str | None]], threads: int
) -> None:
    ids = [text_of(engine, number, *text) for number, text in enumerate(texts)]
    shared = SharedPass(engine.classifier, ids)
    with ThreadPoolExecutor(threads) as pool:
        for call in [pool.submit(shared.run) for _ in range(threads)]:
            call.result()
    outcomes = shared.outcomes()
    assert len(outcomes) == len(texts)
    for text, (_, fault), outcome in zip(ids, texts, outcomes, strict=True):
        if fault:
            assert isinstance(outcome, PredictionFailed)
            assert outcome.detail == FAULTS[fault]
            continue
        assert isinstance(outcome, Result)
        assert outcome.finite
        [alone] = engine.run([text])
        for name in ("logits", "attention", "contributions"):
            np.testing.assert_array_equal(getattr(outcome, name), getattr(alone, name))


def test_a_fault_is_logged(engine: NativeEngine) -> None:
    shared = SharedPass(engine.classifier, [text_of(engine, 0, 3, "no token")])
    shared.run()
    with capture_logs() as logs:
        shared.outcomes()
    assert [entry["event"] for entry in logs] == ["forward pass failed"]
