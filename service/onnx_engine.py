"""Forward passes by ONNX Runtime: any shape, nothing to compile, no Keras."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from models.onnx.bundle import OnnxBundle
from models.tokenizer import PAD_ID, UNKNOWN_ID
from service.results import Result
from service.shapes import Shape, bucket_of, token_buckets_for

_STEP = 16  # tokens between the lengths that texts are counted and grouped by
_PASS_TOKENS = 1024  # measured: a pass of more takes longer a text than two of half as many


class OnnxEngine:
    """Runs one bundle's model on texts as they come, padded to the longest of a pass and no further.

    Its surface is that of `Engine`; there is nothing to warm. `run` may be called from several threads, each pass keeps
    to the core of its thread.

    Args:
        bundle: the model and its card.
        largest_batch: texts in a forward pass, at most.
        threads: forward passes that `run_all` has under way at once.
    """

    name = "onnx"

    def __init__(self, bundle: OnnxBundle, *, largest_batch: int, threads: int = 1) -> None:
        self.bundle = bundle
        self.token_buckets = token_buckets_for(
            bundle.card.max_tokens, range(_STEP, bundle.card.max_tokens + _STEP, _STEP)
        )
        self.largest_batch = largest_batch
        self.threads = threads
        self.compiled: dict[Shape, float] = {}
        """Nothing is."""
        self.retraces = 0
        """Nothing is traced."""
        self._closed = False

    def warm_core(self) -> None:
        """Run a first pass, in which ONNX Runtime sets up what it needs."""
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
        return self._gathered(len(ids), ((places, self._run_one(ids, places)) for places in self._passes(ids)))

    def run_all(self, ids: Sequence[np.ndarray]) -> list[Result]:
        """As `run`, on all the threads of the engine at once: for many texts."""
        passes = list(self._passes(ids))
        with ThreadPoolExecutor(self.threads) as pool:
            done = pool.map(lambda places: self._run_one(ids, places), passes)
            return self._gathered(len(ids), zip(passes, done, strict=True))

    def run_in(self, shape: Shape, ids: Sequence[np.ndarray]) -> list[Result]:
        """The results of up to `shape.batch` texts in one forward pass of just this shape.

        The last digits of a result may depend on the shape; `run` takes one that depends on the texts that are beside.

        Raises:
            ValueError: there are more texts, or a longer one.
            RuntimeError: the engine is closed.
        """
        longest = max(map(len, ids), default=0)
        if len(ids) > shape.batch or longest > shape.tokens:
            raise ValueError(f"Expected texts that fit into {shape}. Received {len(ids)} of up to {longest} tokens.")
        return self._run_padded(ids, shape)

    def close(self) -> None:
        """Run nothing any more; a forward pass that is under way ends normally."""
        self._closed = True

    def _passes(self, ids: Sequence[np.ndarray]) -> Iterator[list[int]]:
        """The places of the texts of each pass, the longest first."""
        places = sorted(range(len(ids)), key=lambda place: -len(ids[place]))
        while places:
            bucket = bucket_of(len(ids[places[0]]), self.token_buckets)
            batch = max(1, min(self.largest_batch, _PASS_TOKENS // bucket))
            yield places[:batch]
            places = places[batch:]

    def _run_one(self, ids: Sequence[np.ndarray], places: Sequence[int]) -> list[Result]:
        texts = [ids[place] for place in places]
        return self._run_padded(texts, Shape(len(texts), max(1, *map(len, texts))))

    def _run_padded(self, texts: Sequence[np.ndarray], shape: Shape) -> list[Result]:
        if self._closed:
            raise RuntimeError("Expected an engine that is open. This one is closed.")
        padded = np.full(shape, PAD_ID, np.int32)  # [batch, tokens]
        for row, text in zip(padded, texts, strict=False):
            row[: len(text)] = text
        outputs = self.bundle.model(padded)
        contributions = outputs.get("contributions")
        return [
            Result(
                logits=outputs["logits"][place],
                attention=outputs["attention"][place, : len(text)],
                contributions=None if contributions is None else contributions[place, : len(text)],
            )
            for place, text in enumerate(texts)
        ]

    @staticmethod
    def _gathered(count: int, passes: Iterator[tuple[list[int], list[Result]]]) -> list[Result]:
        found = {place: result for places, results in passes for place, result in zip(places, results, strict=True)}
        return [found[place] for place in range(count)]
