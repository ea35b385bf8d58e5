"""What the engines have in common that take texts of any lengths: nothing is compiled for a shape."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from models.tokenizer import UNKNOWN_ID
from service.inference.engine import Result
from service.inference.shapes import Shape, check_fit


class ShapelessEngine(ABC):
    """The surface of `Engine` where there is nothing to compile.

    `run` may be called from several threads, each pass keeps to the core of its thread.

    Args:
        token_buckets: lengths that texts are counted and grouped by, in rising order.
        largest_batch: texts in a forward pass, at most.
        threads: forward passes that `run_all` has under way at once.
    """

    def __init__(self, *, token_buckets: tuple[int, ...], largest_batch: int, threads: int) -> None:
        self.token_buckets = token_buckets
        self.largest_batch = largest_batch
        self.threads = threads
        self.compiled: dict[Shape, float] = {}
        """Nothing is."""
        self.retraces = 0
        """Nothing is traced."""
        self._closed = False

    def warm_core(self) -> None:
        """Run a first pass, which sets up what is set up only once."""
        self.run([np.array([UNKNOWN_ID], np.int32)])

    def warm_next(self) -> bool:
        """False: there is nothing left to compile."""
        return False

    def warm(self) -> None:
        """As `warm_core`, which is all there is to do."""
        self.warm_core()

    def run(self, ids: Sequence[np.ndarray]) -> list[Result]:
        """The results of texts given as int32[tokens] each, in their order; the lengths may differ.

        Texts of like length go together, in as many forward passes as it takes. A text without any token gets the
        logits of no evidence, and no weights.

        Raises:
            ValueError: a text is longer than the largest bucket.
            RuntimeError: the engine is closed.
        """
        return _in_order(len(ids), ((places, self._run_one(ids, places)) for places in self._passes(ids)))

    def run_all(self, ids: Sequence[np.ndarray]) -> list[Result]:
        """As `run`, on all the threads of the engine at once: for many texts."""
        passes = list(self._passes(ids))
        with ThreadPoolExecutor(self.threads) as pool:
            done = pool.map(lambda places: self._run_one(ids, places), passes)
            return _in_order(len(ids), zip(passes, done, strict=True))

    def run_in(self, shape: Shape, ids: Sequence[np.ndarray]) -> list[Result]:
        """The results of up to `shape.batch` texts in one forward pass, computed as in just this shape.

        Raises:
            ValueError: there are more texts, or a longer one.
            RuntimeError: the engine is closed.
        """
        check_fit([len(text) for text in ids], shape)
        return self._run_texts(ids, shape)

    def close(self) -> None:
        """Run nothing any more; a forward pass that is under way ends normally."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("Expected an engine that is open. This one is closed.")

    def _run_one(self, ids: Sequence[np.ndarray], places: Sequence[int]) -> list[Result]:
        texts = [ids[place] for place in places]
        return self._run_texts(texts, Shape(len(texts), max(1, *map(len, texts))))

    @abstractmethod
    def _passes(self, ids: Sequence[np.ndarray]) -> Iterator[list[int]]:
        """The places of the texts of each pass, the longest first; ValueError where one is too long."""

    @abstractmethod
    def _run_texts(self, texts: Sequence[np.ndarray], shape: Shape) -> list[Result]:
        """One forward pass of texts that fit into `shape`; RuntimeError where the engine is closed."""


def _in_order(count: int, passes: Iterable[tuple[list[int], list[Result]]]) -> list[Result]:
    found = {place: result for places, results in passes for place, result in zip(places, results, strict=True)}
    return [found[place] for place in range(count)]
