"""The batches of a window: each text in one, a bad text alone at fault, a broken engine the end of the run."""

import gc
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.tokenizer import Encoding
from service.inference.engine import Result, bucket_of
from service.inference.errors import PredictionFailed
from service.local import open_for_scoring
from service.scoring.errors import ScoreError
from service.scoring.forward import Outcomes, Prepared, Scorer
from service.settings import Settings

POISON = 7


class ArithmeticEngine:
    """Answers with the ids themselves."""

    buckets = (4, 8, 16)

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def warm(self) -> Iterator[None]:
        yield

    def facts(self) -> Mapping[str, float]:
        return {"vector_lanes": 8}

    def close(self) -> None:
        pass

    def run(self, ids: Sequence[np.ndarray]) -> list[Result]:
        self.batches.append([len(text) for text in ids])
        if any(POISON in text for text in ids):
            raise ArithmeticError("poison")
        return [Result(text[:1].astype(np.float32), text.astype(np.float32), None) for text in ids]


def scorer_of(engine: Any, **options: Any) -> Scorer:
    nothing: Any = None
    return Scorer(nothing, engine, **({"threads": 2, "largest_batch": 4, "max_batch_tokens": 32} | options))


def outcomes_of(scorer: Scorer, texts: Sequence[Sequence[int]]) -> Outcomes:
    nothing: Any = None
    arrays = [np.array(text, np.int32) for text in texts]
    prepared = Prepared(nothing, [Encoding(ids, ids, ids, 0, len(ids)) for ids in arrays], [None] * len(texts))
    with ThreadPoolExecutor(scorer.threads) as pool:
        return scorer.start(prepared, pool)()


@given(st.lists(st.tuples(st.integers(0, 16), st.sampled_from([*[10] * 8, POISON])), max_size=40))
def test_every_text_gets_its_own_outcome_in_order(kinds: list[tuple[int, int]]) -> None:
    engine = ArithmeticEngine()
    texts = [[first, *range(100, 99 + tokens)][:tokens] for tokens, first in kinds]
    for text, outcome in zip(texts, outcomes_of(scorer_of(engine), texts), strict=True):
        if not text:
            assert outcome is None
        elif text[0] == POISON:
            assert isinstance(outcome, PredictionFailed)
        else:
            assert isinstance(outcome, Result)
            assert outcome.attention.tolist() == text
    for batch in engine.batches:
        [bucket] = {bucket_of(tokens, engine.buckets) for tokens in batch}
        assert len(batch) <= min(4, 32 // bucket)


class FailsInOneThread(ArithmeticEngine):
    """Runs out of memory in one of the threads that call it, and nowhere else."""

    def __init__(self) -> None:
        super().__init__()
        self._unhealthy: int | None = None
        self._first = threading.Event()

    def run(self, ids: Sequence[np.ndarray]) -> list[Result]:
        if self._unhealthy is None:
            self._unhealthy = threading.get_ident()
            self._first.wait(20)
        if threading.get_ident() == self._unhealthy:
            raise MemoryError
        self._first.set()
        return super().run(ids)


def test_texts_are_not_blamed_for_an_engine_that_only_another_batch_finds_healthy() -> None:
    with pytest.raises(ScoreError, match="surely good"):
        outcomes_of(scorer_of(FailsInOneThread()), [[10, 11], [10, 11, 12, 13, 14]])


def test_a_window_of_bad_texts_alone_does_not_end_a_run() -> None:
    assert all(
        isinstance(each, PredictionFailed) for each in outcomes_of(scorer_of(ArithmeticEngine()), [[POISON]] * 9)
    )


def test_a_run_knows_what_its_digits_depend_on() -> None:
    scorer = scorer_of(ArithmeticEngine())
    assert scorer.identity == ["ArithmeticEngine", 4, 32, 8, 4, 8, 16]
    assert replace(scorer, threads=7).identity == scorer.identity
    assert replace(scorer, max_batch_tokens=64).identity != scorer.identity


def test_a_model_for_files_is_warm_and_out_of_sight_of_the_collector(models_dir: Path) -> None:
    gc.unfreeze()
    scorer = open_for_scoring(Settings(models_dir=models_dir, token_buckets=(16, 64), max_batch_tokens=512))
    assert scorer.engine.facts()["compiled_shapes"] == len(scorer.engine.buckets)
    assert gc.get_freeze_count() > 1000
    gc.unfreeze()
