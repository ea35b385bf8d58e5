"""The harness that every layer passes, on every backend."""

import inspect
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops, tree

from models.layers import CUSTOM_OBJECTS

# Tolerance from the float32 output: a few units in the last place of each dtype, for outputs around 1.
PRECISION = {"mixed_float16": 1e-2, "mixed_bfloat16": 8e-2}


class Case(NamedTuple):
    """A layer with its arguments, inputs and further arguments of `check_layer`."""

    layer_class: type[keras.layers.Layer]
    arguments: Mapping[str, Any]
    inputs: Sequence[np.ndarray]
    told: Mapping[str, Any] = {}


def check_case(case: Case, folder: Path) -> None:
    check_layer(case.layer_class, case.arguments, case.inputs, folder, **case.told)


def check_layer(
    layer_class: type[keras.layers.Layer],
    arguments: Mapping[str, Any],
    inputs: Sequence[np.ndarray],
    folder: Path,
    *,
    mask: np.ndarray | None = None,
    without_gradient: frozenset[str] = frozenset(),
    float32_outputs: bool = False,
    rows_sum_to_one: bool = True,
    as_list: bool = False,
    sees: np.ndarray | None = None,
    call_arguments: Mapping[str, Any] | None = None,
) -> None:
    """Check shapes, config, saving, precision, gradients and masking of a layer.

    Args:
        layer_class: the layer, of `CUSTOM_OBJECTS`.
        arguments: of its constructor.
        inputs: of its call, [batch, tokens, ...] or [batch, ...] each.
        folder: to save to.
        mask: bool[batch, tokens], with a partly padded row and an empty row; required if and only if `call` takes one.
        without_gradient: names of weights that no output depends on; "part/name" for those of an inner layer.
        float32_outputs: the layer computes in float32 under any policy.
        rows_sum_to_one: its attention scores sum to 1 over the real tokens.
        as_list: pass the inputs as one list, and the mask once per input.
        sees: bool[query, key], the keys that a query may see besides the mask; None for all.
        call_arguments: further arguments of every call. The scores stay the second output.
    """
    takes_mask = "mask" in inspect.signature(layer_class.call).parameters
    assert takes_mask is (mask is not None), f"{layer_class.__name__}: expected a mask if and only if call takes one"
    keras.utils.set_random_seed(1)
    scores = "return_attention_scores" in inspect.signature(layer_class.call).parameters
    call = _Call(inputs, mask, scores, as_list, dict(call_arguments or {}))
    layer = _made(layer_class, arguments, call)

    check_shapes(layer, call)
    check_config(layer, call)
    check_file(layer, call, folder)
    for policy, tolerance in PRECISION.items():
        check_precision(layer, call, policy, tolerance, float32_outputs)
    check_gradients(layer, call, without_gradient)
    if mask is not None:
        check_mask(layer, call, rows_sum_to_one, sees)


class _Call:
    """Calls a layer with given inputs, mask and arguments."""

    def __init__(
        self,
        inputs: Sequence[np.ndarray],
        mask: np.ndarray | None,
        scores: bool,
        as_list: bool,
        arguments: dict[str, Any],
    ) -> None:
        self.inputs = tuple(inputs)
        self.mask = mask
        self.scores = scores
        self._as_list = as_list
        self._arguments = arguments
        self._programs: dict[int, Callable[[list[Any], Any], Any]] = {}

    def __call__(
        self, layer: keras.layers.Layer, inputs: Sequence[Any] | None = None, mask: Any = None, *, masked: bool = True
    ) -> Any:
        if mask is None and masked:
            mask = self.mask
        if mask is not None:
            mask = mask if isinstance(mask, keras.KerasTensor) else ops.array(mask)
            mask = [mask] * len(self.inputs) if self._as_list else mask
        given = list(self.inputs if inputs is None else inputs)
        positional = [given] if self._as_list else given
        if keras.backend.backend() != "jax" or any(isinstance(each, keras.KerasTensor) for each in given):
            return layer(*positional, **self._named(mask))
        if not layer.built:
            self.build(layer)
        if id(layer) not in self._programs:
            self._programs[id(layer)] = compiled(layer, self._named)
        return self._programs[id(layer)](positional, mask)

    def _named(self, mask: Any) -> dict[str, Any]:
        named = dict(self._arguments)
        if self.scores:
            named["return_attention_scores"] = True
        if mask is not None:
            named["mask"] = mask
        return named

    def build(self, layer: keras.layers.Layer) -> None:
        shapes = [value.shape for value in self.inputs]
        layer.build(*([shapes] if self._as_list else shapes))

    def symbols(self, unknown: int) -> tuple[list[keras.KerasTensor], keras.KerasTensor | None]:
        """Symbolic inputs and mask with nothing (0), the batch (1), or batch and tokens (2) unknown."""
        tokens = self.inputs[-1].shape[-1] if self.mask is None else self.mask.shape[1]

        def symbol(value: np.ndarray) -> keras.KerasTensor:
            rest = [None if unknown == 2 and size == tokens else size for size in value.shape[1:]]
            return keras.KerasTensor((None if unknown else len(value), *rest), str(value.dtype))

        return [symbol(value) for value in self.inputs], None if self.mask is None else symbol(self.mask)


def compiled(layer: keras.layers.Layer, named: Callable[[Any], dict[str, Any]]) -> Callable[[list[Any], Any], Any]:
    """Compile the layer with JAX as one program, which is several times faster than one per operation."""
    import jax

    variables = layer.variables

    @jax.jit
    def program(values: list[Any], positional: list[Any], mask: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return layer(*positional, **named(mask))

    return lambda positional, mask: program([variable.value for variable in variables], positional, mask)


def check_shapes(layer: keras.layers.Layer, call: _Call) -> None:
    """Compare symbolic and real outputs: full shapes, unknown dimensions and dtypes."""
    eager = tree.flatten(call(layer))
    for unknown in (0, 1, 2):
        symbolic = tree.flatten(call(layer, *call.symbols(unknown)))
        assert len(symbolic) == len(eager)
        for promised, given in zip(symbolic, eager, strict=True):
            assert len(promised.shape) == len(given.shape)
            for expected, received in zip(promised.shape, given.shape, strict=True):
                assert expected == received or (unknown and expected is None), (promised.shape, given.shape)
            assert promised.dtype == keras.backend.standardize_dtype(given.dtype)


def check_config(layer: keras.layers.Layer, call: _Call) -> None:
    """Check that the config is plain JSON, holds every argument, and makes an equal layer."""
    config = layer.get_config()
    assert json.loads(json.dumps(config)) == config
    made_with = vars(type(layer)).get("__init__", object.__init__)
    own = set(inspect.signature(made_with).parameters) - {"self", "args", "kwargs"}
    assert own <= set(config), f"arguments missing from the config: {own - set(config)}"
    again = type(layer).from_config(config)
    assert again.get_config() == config
    call.build(again)
    again.set_weights(layer.get_weights())
    _assert_equal(call(again), call(layer))


def check_file(layer: keras.layers.Layer, call: _Call, folder: Path) -> None:
    """Save a functional model, load it with only CUSTOM_OBJECTS, and compile it."""
    inputs = [keras.Input(value.shape[1:], dtype=str(value.dtype)) for value in call.inputs]
    mask = None if call.mask is None else keras.Input(call.mask.shape[1:], dtype="bool")
    model = keras.Model([*inputs, *([] if mask is None else [mask])], call(layer, inputs, mask))
    file = folder / "model.keras"
    model.save(file)
    with zipfile.ZipFile(file) as archive:
        nodes = json.loads(archive.read("config.json"))["config"]["layers"]
    assert f"heed>{type(layer).__name__}" in {node["registered_name"] for node in nodes}
    with _nothing_registered():
        again = keras.saving.load_model(file, custom_objects=CUSTOM_OBJECTS, compile=False, safe_mode=True)
    values = [*call.inputs, *([] if call.mask is None else [call.mask])]
    if keras.backend.backend() == "jax":
        _assert_equal(compiled(again, lambda mask: {})([values], None), call(layer), atol=1e-6)
        return
    _assert_equal(again(values), model(values))
    # PyTorch's compiler would need a C++ compiler.
    again.compile(jit_compile=keras.backend.backend() != "torch")
    _assert_equal(tree.map_structure(ops.array, again.predict_on_batch(values)), model(values), atol=1e-5)


def check_precision(
    layer: keras.layers.Layer, call: _Call, policy: str, tolerance: float, float32_outputs: bool
) -> None:
    """Check that outputs under a mixed policy have its dtype, are finite and near the float32 ones."""
    mixed = type(layer).from_config(layer.get_config() | {"dtype": policy})
    call(mixed)
    mixed.set_weights(layer.get_weights())
    dtypes = {keras.backend.standardize_dtype(weight.dtype) for weight in mixed.weights}
    assert {dtype for dtype in dtypes if keras.backend.is_float_dtype(dtype)} <= {"float32"}
    assert [weight.dtype for weight in mixed.weights] == [weight.dtype for weight in layer.weights]
    for expected, received in zip(tree.flatten(call(layer)), tree.flatten(call(mixed)), strict=True):
        dtype = keras.backend.standardize_dtype(received.dtype)
        if keras.backend.is_float_dtype(dtype):
            assert dtype == ("float32" if float32_outputs else mixed.compute_dtype)
        values = to_numpy(received).astype("float64")
        assert np.isfinite(values).all()
        np.testing.assert_allclose(values, to_numpy(expected).astype("float64"), atol=tolerance, rtol=tolerance)


def check_gradients(layer: keras.layers.Layer, call: _Call, without_gradient: frozenset[str]) -> None:
    """Check that exactly the weights outside `without_gradient` get a gradient."""
    names = [weight.path.removeprefix(f"{layer.path}/") for weight in layer.trainable_weights]
    assert len(set(names)) == len(names)
    assert without_gradient <= set(names)
    for name, gradient in zip(names, gradients(layer, lambda: call(layer)), strict=True):
        assert np.isfinite(gradient).all(), name
        size = np.abs(gradient).max()
        if name in without_gradient:
            assert size < 1e-6, f"expected no gradient for {name}, received {size}"
        else:
            assert size > 1e-4, f"no gradient reaches {name}"


def check_mask(layer: keras.layers.Layer, call: _Call, rows_sum_to_one: bool, sees: np.ndarray | None) -> None:
    """Check that padding has weight 0 and no influence, and that an empty row gives zeros."""
    mask = call.mask
    assert mask is not None
    assert mask.dtype == bool
    empty = ~mask.any(axis=1)
    assert empty.any(), "expected a row without a real token"
    assert (mask.any(axis=1) & ~mask.all(axis=1)).any(), "expected a row with both"
    outputs = [to_numpy(output) for output in tree.flatten(call(layer))]
    for output in outputs:
        assert np.isfinite(output).all()
        assert (output[empty] == 0).all()
        if (output.shape[:2] == mask.shape and output.ndim == 3) or output.shape == mask.shape:
            assert (output[~mask] == 0).all()
    if call.scores:
        _check_scores(outputs[1], mask, rows_sum_to_one, sees)
    other = [np.where(mask.reshape(mask.shape + (1,) * (value.ndim - 2)), value, 1e3) for value in call.inputs]
    again = call(layer, [value.astype(old.dtype) for value, old in zip(other, call.inputs, strict=True)])
    for expected, received in zip(outputs, tree.flatten(again), strict=True):
        np.testing.assert_allclose(to_numpy(received), expected, atol=1e-6)
    _assert_equal(call(layer, mask=np.ones_like(mask)), call(layer, masked=False), atol=1e-6)


def _check_scores(scores: np.ndarray, mask: np.ndarray, rows_sum_to_one: bool, sees: np.ndarray | None) -> None:
    """Check that weights[batch, key] or maps[batch, (heads,) query, key] are positive exactly on visible keys."""
    looks = mask if scores.ndim == 2 else mask[:, :, None] & mask[:, None, :]
    if sees is not None:
        looks = looks & sees
    if scores.ndim == 4:
        looks = np.broadcast_to(looks[:, None], scores.shape)
    assert (scores[looks] > 0).all()
    assert (scores[~looks] == 0).all()
    if rows_sum_to_one:
        np.testing.assert_allclose(scores.sum(axis=-1), looks.any(axis=-1).astype("float32"), atol=1e-5)


def gradients(layer: keras.layers.Layer, forward: Callable[[], Any]) -> list[np.ndarray]:
    """Gradients of a weighted sum of the outputs of `forward` by each trainable weight of `layer`."""

    def loss() -> Any:
        total = 0.0
        for output in tree.flatten(forward()):
            if keras.backend.is_float_dtype(keras.backend.standardize_dtype(output.dtype)):
                size = int(np.prod(output.shape))
                # Unequal coefficients, because the plain sum of a softmax is constant.
                coefficients = np.cos(np.arange(size, dtype="float32") ** 2 + 1).reshape(output.shape)
                total = total + ops.sum(output * ops.cast(coefficients, output.dtype))
        return total

    variables = layer.trainable_weights
    if not variables:
        return []
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = loss()
        given = tape.gradient(value, [variable.value for variable in variables])
        return [np.zeros(w.shape) if g is None else to_numpy(g) for g, w in zip(given, variables, strict=True)]
    if backend == "jax":
        import jax

        def of_values(values: list[Any]) -> Any:
            with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
                return loss()

        given = jax.jit(jax.grad(of_values))([variable.value for variable in variables])
        return [to_numpy(gradient) for gradient in given]
    if backend == "torch":
        import torch

        given = torch.autograd.grad(loss(), [variable.value for variable in variables], allow_unused=True)
        return [np.zeros(w.shape) if g is None else to_numpy(g) for g, w in zip(given, variables, strict=True)]
    raise ValueError(f"Expected the TensorFlow, JAX or PyTorch backend. Received {backend}.")


def to_numpy(tensor: Any) -> np.ndarray:
    """Convert any tensor to NumPy; bfloat16 becomes float32."""
    if keras.backend.standardize_dtype(tensor.dtype) == "bfloat16":
        tensor = ops.cast(tensor, "float32")
    return np.asarray(ops.convert_to_numpy(tensor))


def _made(layer_class: type[keras.layers.Layer], arguments: Mapping[str, Any], call: _Call) -> keras.layers.Layer:
    """Build the layer with random weights."""
    layer = layer_class(**arguments)
    assert not layer.built
    call(layer)
    assert layer.built
    generator = np.random.default_rng(0)
    for weight in layer.trainable_weights:
        weight.assign(generator.normal(scale=0.5, size=weight.shape))
    return layer


@contextmanager
def _nothing_registered() -> Iterator[None]:
    registered = keras.saving.get_custom_objects()
    before = dict(registered)
    registered.clear()
    try:
        yield
    finally:
        registered.update(before)


def _assert_equal(received: Any, expected: Any, atol: float = 0.0) -> None:
    for one, other in zip(tree.flatten(received), tree.flatten(expected), strict=True):
        np.testing.assert_allclose(to_numpy(one), to_numpy(other), atol=atol, rtol=0)
