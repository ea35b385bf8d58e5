"""Forward passes in C: any lengths, nothing to compile, nothing padded."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from models.bundle import Bundle
from models.tokenizer import UNKNOWN_ID
from service.native_classifier import NativeClassifier
from service.results import Result
from service.shapes import Shape, bucket_of, token_buckets_for


class NativeEngine:
    """Runs one bundle's model on texts as they come.

    Its surface is that of `Engine`; there is nothing to warm. `run` may be called from several threads, each pass keeps
    to the core of its thread. What is said of a text does not depend on the texts beside it, to the last bit.

    Args:
        bundle: the model and its card.
        classifier: the bundle's model.
        token_buckets: lengths that texts are counted and grouped by, in rising order.
        largest_batch: texts in a forward pass, at most.
        threads: forward passes that `run_all` has under way at once.
    """

    name = "native"

    def __init__(
        self,
        bundle: Bundle,
        classifier: NativeClassifier,
        *,
        token_buckets: Sequence[int],
        largest_batch: int,
        threads: int = 1,
    ) -> None:
        self.bundle = bundle
        self.token_buckets = token_buckets_for(bundle.card.max_tokens, token_buckets)
        self.largest_batch = largest_batch
        self.threads = threads
        self.compiled: dict[Shape, float] = {}
        """Nothing is."""
        self.retraces = 0
        """Nothing is traced."""
        self._classify = classifier
        self._closed = False

    def warm_core(self) -> None:
        """Run a first pass."""
        self.run([np.array([UNKNOWN_ID], np.int32)])

    def warm_next(self) -> bool:
        """False: there is nothing left to compile."""
        return False

    def warm(self) -> None:
        """As `warm_core`, which is all there is to do."""
        self.warm_core()

    def run(self, ids: Sequence[np.ndarray]) -> list[Result]:
        """The results of texts given as int32[tokens] each, in their order; the lengths may differ.

        A text without any token gets the logits of no evidence, and no weights.

        Raises:
            ValueError: a text is longer than the largest bucket.
            RuntimeError: the engine is closed.
        """
        if self._closed:
            raise RuntimeError("Expected an engine that is open. This one is closed.")
        bucket_of(max(map(len, ids), default=0), self.token_buckets)
        return self._classify(ids)

    def run_all(self, ids: Sequence[np.ndarray]) -> list[Result]:
        """As `run`, on all the threads of the engine at once: for many texts."""
        places = sorted(range(len(ids)), key=lambda place: -len(ids[place]))
        passes = [places[at : at + self.largest_batch] for at in range(0, len(places), self.largest_batch)]
        results: list[Result | None] = [None] * len(ids)
        with ThreadPoolExecutor(self.threads) as pool:
            done = pool.map(lambda group: self.run([ids[place] for place in group]), passes)
            for group, found in zip(passes, done, strict=True):
                for place, result in zip(group, found, strict=True):
                    results[place] = result
        return results  # type: ignore[return-value]  # every text is in one pass

    def run_in(self, shape: Shape, ids: Sequence[np.ndarray]) -> list[Result]:
        """The results of up to `shape.batch` texts; as of `run`, whose results do not depend on a shape.

        Raises:
            ValueError: there are more texts, or a longer one.
            RuntimeError: the engine is closed.
        """
        longest = max(map(len, ids), default=0)
        if len(ids) > shape.batch or longest > shape.tokens:
            raise ValueError(f"Expected texts that fit into {shape}. Received {len(ids)} of up to {longest} tokens.")
        return self.run(ids)

    def close(self) -> None:
        """Run nothing any more; a forward pass that is under way ends normally."""
        self._closed = True
