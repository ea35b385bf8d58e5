"""Compiled forward passes over a closed set of shapes: lists of token ids in, one result for each out."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import structlog

from models.bundle.store import Bundle
from models.tokenizer import PAD_ID, UNKNOWN_ID
from service.inference.compilation import Forward, forward_compiler
from service.inference.engine import Result
from service.inference.recurrence import serving_model, takes_as_long_as_its_texts
from service.inference.shapes import Plan, Shape, bucket_of, check_fit, programs_for, shape_grid, token_buckets_for

log = structlog.get_logger(__name__)

_TIMED_RUNS = 3
_CLEARLY_LESS = 0.9


class Engine:
    """Runs one bundle's model in shapes that are compiled beforehand; nothing is traced while it serves.

    `warm_core` compiles the one shape that answers every text, `warm_next` one more of the others: until all are
    compiled, a text is padded up to a shape that is. `run` may be called from several threads, also while another
    compiles; on a processor that is how it uses more cores than one, since sharing out passes beats sharing out the
    small products inside of one.

    Args:
        bundle: the model and its card.
        batch_sizes: texts in a forward pass, in rising order.
        token_buckets: padded lengths in rising order; those that no text of this model needs are left out, and its
            `max_tokens` is added if none holds it. Where a pass takes as long as its texts whatever they are padded to,
            several buckets share a program.
        max_batch_tokens: padded tokens in one forward pass, at most; None: no bound.
        threads: forward passes that `run_all` has under way at once.
    """

    name = "keras"

    def __init__(
        self,
        bundle: Bundle,
        *,
        batch_sizes: Sequence[int],
        token_buckets: Sequence[int],
        max_batch_tokens: int | None = None,
        threads: int = 1,
    ) -> None:
        self.bundle = bundle
        self.token_buckets = token_buckets_for(bundle.card.max_tokens, token_buckets)
        self.largest_batch = batch_sizes[-1]
        self.shapes = tuple(shape_grid(batch_sizes, self.token_buckets, max_batch_tokens))
        self.threads = threads
        model = serving_model(bundle.model)
        self._lengths = programs_for(self.token_buckets) if takes_as_long_as_its_texts(model) else self.token_buckets
        self._compiler = forward_compiler(model)
        self._compiling, self._keeping = threading.Lock(), threading.Lock()
        self._forwards: dict[Shape, Forward] = {}
        self._seconds: dict[Shape, float] = {}
        self._plan = Plan(self._seconds, self.token_buckets)
        self._compilations = 0
        self._closed = False

    @property
    def compiled(self) -> dict[Shape, float]:
        """The shapes compiled so far, with the seconds that a forward pass of each takes."""
        return dict(self._seconds)

    @property
    def retraces(self) -> int:
        """Traces beyond one for each compiled shape: 0, unless something is wrong."""
        return max(0, self._compiler.traces - self._compilations)

    def warm(self) -> None:
        """Compile and run every shape of the closed set that is not compiled yet."""
        while self.warm_next():
            pass

    def warm_core(self) -> None:
        """Compile and run the one shape that answers every text, if not in the cheapest way: enough to be ready."""
        if not self._seconds:
            self.warm_next()

    def warm_next(self) -> bool:
        """Compile and run one more shape; False when there is none left to compile, or the engine is closed."""
        with self._compiling:
            shape = next((shape for shape in self.shapes if shape not in self._seconds), None)
            if shape is None or self._closed:
                return False
            started = time.perf_counter()
            forward = self._compile(shape)
            compiled = time.perf_counter()
            ids = _padded([np.full(shape.tokens, UNKNOWN_ID)] * shape.batch, self._program_of(shape))
            spent = [_seconds_of(forward, ids) for _ in range(_TIMED_RUNS)]
            self._keep(shape, min(spent))
            log.debug(
                "shape compiled",
                model=self.bundle.card.name,
                batch=shape.batch,
                tokens=shape.tokens,
                compile_milliseconds=round(1000 * (compiled - started)),
                run_milliseconds=round(1000 * min(spent), 3),
            )
        return True

    def run(self, ids: Sequence[np.ndarray]) -> list[Result]:
        """The results of texts given as int32[tokens] each, in their order; the lengths may differ.

        A list that is larger than the largest batch is run in several forward passes. A text without any token gets
        the logits of no evidence, and no weights.

        Raises:
            ValueError: a text is longer than the largest bucket.
            RuntimeError: nothing is compiled yet, or the engine is closed.
        """
        results: list[Result | None] = [None] * len(ids)
        for places, shape in self._planned(ids):
            for place, result in zip(places, self._run_one([ids[place] for place in places], shape), strict=True):
                results[place] = result
        return results  # type: ignore[return-value]  # every text is in one pass

    def run_all(self, ids: Sequence[np.ndarray]) -> list[Result]:
        """As `run`, on all the threads of the engine at once: for many texts."""
        results: list[Result | None] = [None] * len(ids)

        def run(places: list[int], shape: Shape) -> None:
            for place, result in zip(places, self._run_one([ids[place] for place in places], shape), strict=True):
                results[place] = result

        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(lambda each: run(*each), self._planned(ids)))
        return results  # type: ignore[return-value]  # every text is in one pass

    def _planned(self, ids: Sequence[np.ndarray]) -> list[tuple[list[int], Shape]]:
        """The texts that each forward pass holds, by place, and its shape."""
        plan = self._plan
        if not self._seconds or self._closed:
            state = "closed" if self._closed else "not warmed"
            raise RuntimeError(f"Expected a warmed engine. This one is {state}; call warm_core() or warm() first.")
        lengths = [len(text) for text in ids]
        bucket_of(max(lengths, default=0), self.token_buckets)
        return plan.batches(lengths)

    def run_in(self, shape: Shape, ids: Sequence[np.ndarray]) -> list[Result]:
        """The results of up to `shape.batch` texts in one forward pass of just this shape, compiled now if need be.

        `run` takes the shape that is quickest, which may differ from process to process, and with it the last digits of
        a result; these do not.

        Raises:
            ValueError: there are more texts, or a longer one.
            RuntimeError: the engine is closed.
        """
        check_fit([len(text) for text in ids], shape)
        if self._closed:
            raise RuntimeError("Expected an engine that is open. This one is closed.")
        if self._program_of(shape) not in self._forwards:
            with self._compiling:
                self._compile(shape)
        return list(self._run_one(ids, shape))

    def _program_of(self, shape: Shape) -> Shape:
        """The shape that is compiled for passes of this one."""
        return Shape(shape.batch, bucket_of(shape.tokens, self._lengths))

    def _compile(self, shape: Shape) -> Forward:
        """The forward pass for this shape, compiled only once. The caller holds the lock."""
        program = self._program_of(shape)
        if program not in self._forwards:
            self._compilations += 1
            self._forwards[program] = self._compiler.compile(program)
        return self._forwards[program]

    def _run_one(self, ids: Sequence[np.ndarray], shape: Shape) -> Iterator[Result]:
        """One forward pass of texts that fit into `shape`."""
        program = self._program_of(shape)
        padded = _padded(ids, program)
        started = time.perf_counter()
        outputs = self._forwards[program](padded)
        seconds = time.perf_counter() - started
        if bucket_of(max(map(len, ids), default=0), self.token_buckets) == shape.tokens:  # no shorter text was quicker
            self._learn(shape, seconds)
        contributions = outputs.get("contributions")
        for place, text in enumerate(ids):
            tokens = len(text)
            yield Result(
                logits=outputs["logits"][place],
                attention=outputs["attention"][place, :tokens],
                contributions=None if contributions is None else contributions[place, :tokens],
            )

    def _learn(self, shape: Shape, seconds: float) -> None:
        """Correct what a pass is thought to take: the cores may have been busy with other things as it was timed."""
        if seconds < _CLEARLY_LESS * self._seconds.get(shape, 0.0):
            self._keep(shape, seconds)

    def _keep(self, shape: Shape, seconds: float) -> None:
        # Replaced, never changed: `run` reads them without a lock, and finds a forward for each shape in the plan.
        with self._keeping:
            self._seconds = {**self._seconds, shape: seconds}
            self._plan = Plan(self._seconds, self.token_buckets)

    def close(self) -> None:
        """Compile and run nothing any more; a forward pass that is under way ends normally."""
        self._closed = True


def _padded(ids: Sequence[np.ndarray], program: Shape) -> np.ndarray:
    """ids int32[batch, tokens] of a program; rows beyond the texts are all padding."""
    padded = np.full(program, PAD_ID, np.int32)
    for row, text in zip(padded, ids, strict=False):
        row[: len(text)] = text
    return padded


def _seconds_of(forward: Forward, ids: np.ndarray) -> float:
    started = time.perf_counter()
    forward(ids)
    return time.perf_counter() - started
