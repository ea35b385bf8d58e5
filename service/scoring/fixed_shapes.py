"""Files on an engine whose numbers depend, in their last digits, on the shape they were computed in."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from service.inference.engine import Result
from service.inference.errors import PredictionFailed
from service.inference.isolation import IsolatingRunner
from service.inference.loading import ServingEngine
from service.inference.shapes import Shape, bucket_of
from service.scoring.forward import sick


class FixedShapes:
    """An engine that runs every text of one length in one and the same shape.

    One that picks the shape which is quickest just then would not write the same bytes twice.

    Args:
        engine: whose shapes to take.
        batch_tokens: padded tokens in a forward pass, about.
    """

    def __init__(self, engine: ServingEngine, batch_tokens: int) -> None:
        self.bundle = engine.bundle
        self.threads = engine.threads
        self._engine = engine
        self._batch_tokens = batch_tokens
        self.token_buckets = engine.token_buckets

    @property
    def identity(self) -> list[int | str]:
        """What the last digits of a result depend on."""
        return [self._engine.name, self._batch_tokens, *self.token_buckets]

    @property
    def largest_batch(self) -> int:
        """Texts in one forward pass, at most."""
        return self.batch_of(1)

    def batch_of(self, tokens: int) -> int:
        """Texts in a forward pass whose longest has `tokens` tokens."""
        return max(1, self._batch_tokens // bucket_of(tokens, self.token_buckets))

    def passes(self, ids: Sequence[np.ndarray]) -> "ShapedPasses":
        """The forward passes for texts of int32[tokens] each, the longest first."""
        return ShapedPasses(self, list(self._batches(ids)))

    def _batches(self, ids: Sequence[np.ndarray]) -> Iterator[Sequence[np.ndarray]]:
        while ids:
            batch = self.batch_of(len(ids[0]))
            yield ids[:batch]
            ids = ids[batch:]

    def run(self, ids: Sequence[np.ndarray]) -> list[Result]:
        """The results of one of the batches, or of some of its texts."""
        longest = max(map(len, ids))
        return self._engine.run_in(Shape(self.batch_of(longest), bucket_of(longest, self.token_buckets)), ids)


class ShapedPasses:
    """A forward pass a batch.

    Args:
        engine: runs each.
        batches: the texts of each.
    """

    def __init__(self, engine: FixedShapes, batches: Sequence[Sequence[np.ndarray]]) -> None:
        self._engine = engine
        self._outcomes: list[list[Result | PredictionFailed]] = [[] for _ in batches]
        self.calls: list[Callable[[], None]] = [partial(self._run, *each) for each in enumerate(batches)]

    def _run(self, number: int, ids: Sequence[np.ndarray]) -> None:
        runner = IsolatingRunner(self._engine)  # its own: another pass may find the engine well at the same moment
        self._outcomes[number] = runner.run(ids, lambda place: True)
        if not runner.healthy:
            raise sick()

    def outcomes(self) -> list[Result | PredictionFailed]:
        """Of each text."""
        return [outcome for batch in self._outcomes for outcome in batch]
