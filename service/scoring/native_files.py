"""Files on the engine in C, whose numbers depend on no shape."""

from collections.abc import Callable, Sequence

import numpy as np

from models.native import unlocked_library
from service.errors import PredictionFailed
from service.isolation import IsolatingRunner
from service.native_engine import NativeEngine
from service.native_pass import SharedPass
from service.results import Result
from service.scoring.forward import sick


class NativeFiles:
    """One forward pass a window, which all threads share.

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
        """The forward pass for texts of int32[tokens] each, the longest first."""
        return NativePasses(self._engine, ids)


class NativePasses:
    """A forward pass that all threads of an engine share.

    Args:
        engine: runs it.
        ids: int32[tokens] of each text.
    """

    def __init__(self, engine: NativeEngine, ids: Sequence[np.ndarray]) -> None:
        self._engine = engine
        self._shared = SharedPass(engine.classifier, ids) if ids else None
        self.calls: list[Callable[[], None]] = [self._shared.run] * engine.threads if self._shared else []

    def outcomes(self) -> list[Result | PredictionFailed]:
        """Of each text.

        Raises:
            ScoreError: all of them fail, and a text that is surely good as well.
        """
        outcomes = self._shared.outcomes() if self._shared else []
        if outcomes and not any(isinstance(outcome, Result) for outcome in outcomes):
            runner = IsolatingRunner(self._engine)
            runner.probe()
            if not runner.healthy:
                raise sick()
        return outcomes
