"""Forward passes side by side."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from service.inference.engine import Result
from service.inference.isolation import IsolatingRunner
from service.scoring.errors import ScoreError
from service.scoring.fixed_shapes import ShapedPasses

IDS = np.array([2, 3, 4], np.int32)


class FailsInOneThread:
    """An engine that runs out of memory in the thread that makes it, and nowhere else."""

    threads = 1

    def __init__(self) -> None:
        self._sick = threading.get_ident()

    def run(self, ids: Sequence[np.ndarray]) -> list[Result]:
        if threading.get_ident() == self._sick:
            raise MemoryError
        weights = np.full(len(IDS), 1 / 3, np.float32)
        return [Result(np.zeros(2, np.float32), weights, weights, finite=True) for _ in ids]


def test_texts_are_not_blamed_for_an_engine_that_only_another_pass_finds_well(monkeypatch: pytest.MonkeyPatch) -> None:
    engine: Any = FailsInOneThread()
    passes = ShapedPasses(engine, [[IDS], [IDS]])
    here, run = threading.get_ident(), IsolatingRunner.run

    def run_and_let_another_pass_end(runner: IsolatingRunner, *arguments: Any) -> Any:
        outcomes = run(runner, *arguments)
        if threading.get_ident() == here:
            beside = threading.Thread(target=passes.calls[1])
            beside.start()
            beside.join()
        return outcomes

    monkeypatch.setattr(IsolatingRunner, "run", run_and_let_another_pass_end)
    with pytest.raises(ScoreError, match="surely good"):
        passes.calls[0]()
