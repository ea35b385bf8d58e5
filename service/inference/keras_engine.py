"""The Keras engine: the bundle's model, compiled for a closed set of padded shapes."""

import importlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import structlog

from models.bundle.store import Bundle
from models.tokenizer import UNKNOWN_ID
from service.inference.engine import Result, buckets_up_to, by_bucket, pad, results_of

log = structlog.get_logger(__name__)

Forward = Callable[[np.ndarray], dict[str, np.ndarray]]
"""ids int32[batch, tokens] -> the model's outputs by name, each with `batch` as its first dimension."""


class Shape(NamedTuple):
    """ids int32[batch, tokens] of one forward pass, padding included."""

    batch: int
    tokens: int


class KerasEngine:
    """Runs one bundle's model on whichever backend Keras has; nothing is traced while it serves.

    On a processor, several passes side by side get through more texts than one pass that uses all cores.

    Args:
        bundle: the model and its card.
        buckets: padded lengths in rising order; those that no text of this model needs are left out, and its
            `max_tokens` is added if none holds it.
        batch_sizes: texts in a forward pass, in rising order.
        max_batch_tokens: padded tokens in one forward pass, at most; the smallest batch always goes.
    """

    def __init__(
        self, bundle: Bundle, *, buckets: Sequence[int], batch_sizes: Sequence[int], max_batch_tokens: int
    ) -> None:
        self.bundle = bundle
        self.buckets = buckets_up_to(bundle.card.max_tokens, buckets)
        smallest, longest = batch_sizes[0], self.buckets[-1]
        shapes = [
            Shape(batch, tokens)
            for batch in batch_sizes
            for tokens in self.buckets
            if batch == smallest or batch * tokens <= max_batch_tokens
        ]
        # The first answers every text.
        self._shapes = sorted(shapes, key=lambda shape: shape != (smallest, longest))
        self._forwards: dict[Shape, Forward] = {}
        self._compilations = self._traces = 0
        self._compile = _compiler(bundle.model, self._count_trace)
        self._closed = False

    def warm(self) -> Iterator[None]:
        """Compile and run one shape after the other; until its own is there, a text is padded to a larger one."""
        for shape in self._shapes:
            if self._closed:
                return
            if shape not in self._forwards:
                started = time.perf_counter()
                self._compilations += 1
                forward = self._compile(shape)
                forward(np.full(shape, UNKNOWN_ID, np.int32))
                # Replaced, never changed: `run` reads it without a lock.
                self._forwards = {**self._forwards, shape: forward}
                log.debug("shape compiled", shape=shape, seconds=round(time.perf_counter() - started, 3))
            yield

    def run(self, ids: Sequence[np.ndarray]) -> list[Result]:
        """Return the results of texts given as int32[tokens] each, in order.

        The texts of one bucket share passes. A text without tokens gets the logits of no evidence, and no weights.

        Raises:
            ValueError: a text is longer than the largest bucket.
            RuntimeError: nothing is compiled yet, or the engine is closed.
        """
        forwards = self._forwards
        if self._closed or not forwards:
            raise RuntimeError(f"The engine is {'closed' if self._closed else 'not warm: iterate warm() first'}.")
        results: dict[int, Result] = {}
        for bucket, places in by_bucket(ids, self.buckets):
            while places:
                shape = _smallest(forwards, len(places), bucket)
                texts = [ids[place] for place in places[: shape.batch]]
                results |= zip(places, results_of(forwards[shape](pad(texts, *shape)), texts), strict=False)
                places = places[shape.batch :]
        return [results[place] for place in range(len(ids))]

    def facts(self) -> dict[str, float]:
        """Return the compiled shapes, and the traces beyond one for each: 0, unless something is wrong."""
        return {"compiled_shapes": len(self._forwards), "retraces": max(0, self._traces - self._compilations)}

    def close(self) -> None:
        """Compile and run nothing any more; a forward pass that is under way ends normally."""
        self._closed = True

    def _count_trace(self) -> None:
        self._traces += 1


def _smallest(shapes: "dict[Shape, Forward]", texts: int, tokens: int) -> Shape:
    """Return the smallest shape that holds so many texts of so many tokens, or else the one that holds most of them."""
    fitting = (shape for shape in shapes if shape.tokens >= tokens)
    return min(fitting, key=lambda shape: (-min(texts, shape.batch), shape.batch * shape.tokens))


def use_one_core_a_pass() -> None:
    """Keep each forward pass on a processor to the core of the thread that runs it; a GPU is not concerned.

    It must be called before the backend computes anything, and holds for the whole process.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
    elif backend == "jax":
        flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()


def computes_on_cpu() -> bool:
    """Whether Keras computes on a processor, not on a GPU."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return not tf.config.list_physical_devices("GPU")
    if backend == "jax":
        import jax

        return bool(jax.default_backend() == "cpu")
    return not importlib.import_module(backend).cuda.is_available()


def _compiler(model: keras.Model, traced: Callable[[], None]) -> Callable[[Shape], Forward]:
    """Return what compiles `model` for a shape; all shapes read the same weights in memory.

    Args:
        model: on the backend that is loaded.
        traced: called whenever the model's Python code is traced.
    """
    backend = keras.backend.backend()
    return {"tensorflow": _with_tensorflow, "jax": _with_jax}.get(backend, _eager)(model, traced)


def _with_tensorflow(model: keras.Model, traced: Callable[[], None]) -> Callable[[Shape], Forward]:
    """XLA through `tf.function`; the weights are captured variables, not constants of the program."""
    import tensorflow as tf

    @tf.function(jit_compile=True, autograph=False)
    def outputs_of(ids: Any) -> Any:
        traced()  # Python runs at trace time only
        return model(ids, training=False)

    def compile_shape(shape: Shape) -> Forward:
        # A concrete function takes no lock, so that serving does not wait for another shape to be traced.
        concrete = outputs_of.get_concrete_function(tf.TensorSpec(tuple(shape), tf.int32))
        return lambda ids: {name: output.numpy() for name, output in concrete(tf.constant(ids)).items()}

    return compile_shape


def _with_jax(model: keras.Model, traced: Callable[[], None]) -> Callable[[Shape], Forward]:
    """`jax.jit` of `stateless_call`, compiled ahead of time; the weights are arguments."""
    import jax

    shape_of: Any = jax.ShapeDtypeStruct
    weights = (
        [variable.value for variable in model.trainable_variables],
        [variable.value for variable in model.non_trainable_variables],
    )

    def outputs_of(weights: Any, ids: Any) -> Any:
        traced()  # Python runs at trace time only
        return model.stateless_call(*weights, ids, training=False)[0]

    def compile_shape(shape: Shape) -> Forward:
        compiled = jax.jit(outputs_of).lower(weights, shape_of(tuple(shape), np.int32)).compile()
        return lambda ids: {name: np.asarray(output) for name, output in compiled(weights, ids).items()}

    return compile_shape


def _eager(model: keras.Model, traced: Callable[[], None]) -> Callable[[Shape], Forward]:
    """The plain call without gradients, the same for every shape: for PyTorch, which Keras does not compile."""
    no_grad = importlib.import_module(keras.backend.backend()).no_grad

    def forward(ids: np.ndarray) -> dict[str, np.ndarray]:
        with no_grad():
            outputs = model(keras.ops.convert_to_tensor(ids), training=False)
            return {name: keras.ops.convert_to_numpy(output) for name, output in outputs.items()}

    return lambda shape: forward
