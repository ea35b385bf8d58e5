"""A forward pass compiled for one padded shape, on whichever backend Keras runs."""

import importlib
import os
from collections.abc import Callable
from typing import Any, Protocol

import keras
import numpy as np

from service.inference.shapes import Shape

Forward = Callable[[np.ndarray], dict[str, np.ndarray]]
"""ids int32[batch, tokens] -> the model's outputs by name, each with `batch` as its first dimension."""


class ForwardCompiler(Protocol):
    """Compiles one model for several shapes; all of them read the same weights in memory."""

    traces: int
    """How often the model's Python code was traced, counted as it is traced."""

    def compile(self, shape: Shape) -> Forward:
        """The forward pass for ids of exactly this shape."""
        ...


def use_one_core_a_pass() -> None:
    """Keep each forward pass on a processor to the core of the thread that runs it; a GPU is not concerned.

    The products inside a pass are small: several passes side by side get through more texts than one pass that is
    shared out. It must be called before the backend computes anything, and holds for the whole process.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
    elif backend == "jax":
        flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()


def forward_compiler(model: keras.Model) -> ForwardCompiler:
    """The compiler for the backend that is loaded."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return TensorFlowCompiler(model)
    if backend == "jax":
        return JaxCompiler(model)
    return EagerForward(model)


class TensorFlowCompiler:
    """XLA through `tf.function`; the weights are captured variables, no constants of the program."""

    def __init__(self, model: keras.Model) -> None:
        import tensorflow as tf

        self.traces = 0
        self._tf = tf
        self._widths: dict[str, int] = {}
        self._function = tf.function(self._forward, jit_compile=True, autograph=False)
        self._model = model

    def _forward(self, ids: Any) -> Any:
        """All outputs side by side, float32[batch, sum of their widths]: to fetch one costs as much as to fetch all."""
        self.traces += 1  # Python runs at trace time only
        outputs = self._model(ids, training=False)
        self._widths = {name: output.shape[1] for name, output in outputs.items()}
        return self._tf.concat(list(outputs.values()), axis=1)

    def compile(self, shape: Shape) -> Forward:
        """Trace now; XLA compiles in the first call, so one is made here."""
        tf = self._tf
        concrete = self._function.get_concrete_function(tf.TensorSpec(tuple(shape), tf.int32))
        names, ends = list(self._widths), np.cumsum(list(self._widths.values()))[:-1]

        def forward(ids: np.ndarray) -> dict[str, np.ndarray]:
            return dict(zip(names, np.split(concrete(tf.constant(ids)).numpy(), ends, axis=1), strict=True))

        forward(np.zeros(shape, np.int32))
        return forward


class JaxCompiler:
    """`jax.jit` of `stateless_call`, compiled ahead of time; the weights are arguments."""

    def __init__(self, model: keras.Model) -> None:
        import jax

        self.traces = 0
        self._jax: Any = jax
        self._model = model
        self._weights = (
            [variable.value for variable in model.trainable_variables],
            [variable.value for variable in model.non_trainable_variables],
        )

    def _forward(self, weights: Any, ids: Any) -> Any:
        self.traces += 1  # Python runs at trace time only
        outputs, _ = self._model.stateless_call(*weights, ids, training=False)
        return outputs

    def compile(self, shape: Shape) -> Forward:
        """Trace and compile now."""
        ids_like = self._jax.ShapeDtypeStruct(tuple(shape), np.int32)
        compiled = self._jax.jit(self._forward).lower(self._weights, ids_like).compile()

        def forward(ids: np.ndarray) -> dict[str, np.ndarray]:
            return {name: np.asarray(output) for name, output in compiled(self._weights, ids).items()}

        return forward


class EagerForward:
    """The plain call, without gradients: for backends that Keras does not compile (PyTorch)."""

    def __init__(self, model: keras.Model) -> None:
        self.traces = 0
        self._no_grad = importlib.import_module(keras.backend.backend()).no_grad
        self._model = model

    def compile(self, shape: Shape) -> Forward:
        """Nothing to compile; the call is the same for every shape."""

        def forward(ids: np.ndarray) -> dict[str, np.ndarray]:
            with self._no_grad():
                outputs = self._model(keras.ops.convert_to_tensor(ids), training=False)
                return {name: keras.ops.convert_to_numpy(output) for name, output in outputs.items()}

        return forward
