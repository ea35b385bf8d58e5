"""Files on the engine in C, whose numbers depend on no shape."""

from collections.abc import Callable, Sequence

import numpy as np

from models.native import unlocked_library
from service.inference.engine import Result
from service.inference.errors import PredictionFailed
from service.inference.isolation import IsolatingRunner
from service.inference.native_engine import NativeEngine
from service.inference.native_pass import SharedPass
from service.scoring.forward import sick

_TEXTS_A_PASS = 1024
"""Fewer end in Python more often; a run that is stopped waits for as many."""


class NativeFiles:
    """A window is one forward pass, which all threads share, or a few if it is large.

    Args:
        engine: what runs it.
    """

    def __init__(self, engine: NativeEngine) -> None:
        self.bundle = engine.bundle
        self.threads = engine.threads
        self._engine = engine

    @property
    def identity(self) -> list[int | str]:
        """What the last digits of a result depend on: sums are taken by vectors."""
        library = unlocked_library()
        assert library is not None
        return [self._engine.name, library.heed_lanes()]

    def passes(self, ids: Sequence[np.ndarray]) -> "NativePasses":
        """The forward passes for texts of int32[tokens] each, the longest first."""
        return NativePasses(self._engine, ids)


class NativePasses:
    """Forward passes that all threads of an engine share.

    Args:
        engine: runs them.
        ids: int32[tokens] of each text.
    """

    def __init__(self, engine: NativeEngine, ids: Sequence[np.ndarray]) -> None:
        self._engine = engine
        shares = (ids[at : at + _TEXTS_A_PASS] for at in range(0, len(ids), _TEXTS_A_PASS))
        self._passes = [SharedPass(engine.classifier, share) for share in shares]
        self.calls: list[Callable[[], None]] = [each.run for each in self._passes for _ in range(engine.threads)]

    def outcomes(self) -> list[Result | PredictionFailed]:
        """Of each text.

        Raises:
            ScoreError: all of them fail, and a text that is surely good as well.
        """
        outcomes = [outcome for each in self._passes for outcome in each.outcomes()]
        if outcomes and not any(isinstance(outcome, Result) for outcome in outcomes):
            runner = IsolatingRunner(self._engine)
            runner.probe()
            if not runner.healthy:
                raise sick()
        return outcomes
