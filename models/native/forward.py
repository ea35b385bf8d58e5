"""The forward pass of one architecture in C: bidirectional LSTM or GRU, additive pooling, linear head."""

import ctypes
from collections.abc import Mapping

import numpy as np

from models.native import unlocked_library
from models.native.kernel import CompiledKernel

_PANEL, _BLOCK, _MAX_INPUTS, _MAX_OUTPUTS = 16, 64, 1024, 65536
"""As in forward.c."""
_LEAST_TEMPERATURE = 1e-30
_MAX_TABLE_BYTES = 256 << 20  # of both directions

DIRECTIONS = ("forward", "backward")
_OF_A_DIRECTION = ("kernel", "recurrent", "bias")
REQUIRED = (
    "embedding",
    *(f"{direction}_{name}" for direction in DIRECTIONS for name in _OF_A_DIRECTION),
    *("attention_kernel", "attention_query", "head_kernel", "head_bias"),
)
OPTIONAL = ("attention_bias",)


class _Model(ctypes.Structure):
    """`Model` of forward.c."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in ("vocabulary", "units", "gates", "outputs", "hidden", "labels")),
        ("temperature", ctypes.c_float),
        *((name, ctypes.c_void_p * 2) for name in ("tables", "recurrent", "recurrent_bias")),
        *((name, ctypes.c_void_p) for name in ("kernel", "bias", "query", "head", "head_bias", "contrasts")),
    ]


class NativeForward(CompiledKernel):
    """Computes what Keras computes from these weights, about twice as fast as XLA on a processor.

    Groups of eight neighbours run side by side, fastest if their lengths are similar. The logits of another path, given
    to `compute`, are added to its own before the highest names the label that contributions are of.

    Args:
        weights: float32 arrays by name, as Keras saves them, where V is the size of the vocabulary, E the width of an
            embedding, U the units of a direction, G = 4U for LSTM or 3U for GRU (reset_after), H the width of the
            scoring network and L the number of labels: `embedding` [V, E]; `forward_kernel` [E, G],
            `forward_recurrent` [U, G] and `forward_bias`, [G] for LSTM and [2, G] for GRU; the same for `backward`;
            `attention_kernel` [2U, H], `attention_query` [H, 1] and, optionally, `attention_bias` [H]; `head_kernel`
            [2U, L] and `head_bias` [L]. U is a multiple of 16, at most 512.
        temperature: what the scores of the tokens are divided by.

    Raises:
        RuntimeError: the kernels are not compiled, or not wanted.
        ValueError: a weight is missing, or of another type or shape; the message says which.
    """

    def __init__(self, weights: Mapping[str, np.ndarray], *, temperature: float = 1.0) -> None:
        loaded = unlocked_library()
        if loaded is None:
            raise RuntimeError("The kernels are not compiled, or not wanted.")
        units, gates = _check(weights, temperature)
        vocabulary, labels, hidden = (
            *(len(weights["embedding"]), len(weights["head_bias"])),
            weights["attention_kernel"].shape[1],
        )
        self._arrays: list[np.ndarray] = []  # the structure holds only their addresses
        model = _Model(vocabulary, units, gates, _padded(gates * units), _padded(hidden), labels)
        model.temperature = temperature
        for way, direction in enumerate(DIRECTIONS):
            kernel, recurrent, bias = (_ordered(weights[f"{direction}_{name}"], gates) for name in _OF_A_DIRECTION)
            of_inputs, of_states = (bias, np.zeros_like(bias)) if bias.ndim == 1 else bias
            table = weights["embedding"] @ kernel
            table += of_inputs
            model.tables[way] = self._address(table)
            model.recurrent[way], model.recurrent_bias[way] = self._matrix(recurrent, of_states)
        bias = weights.get("attention_bias", np.zeros(hidden, np.float32))
        model.kernel, model.bias = self._matrix(weights["attention_kernel"], bias)
        model.query = self._address(np.pad(weights["attention_query"][:, 0], (0, -hidden % _BLOCK)))
        head = weights["head_kernel"]
        contrasts = head - (head.sum(axis=1, keepdims=True) - head) / np.float32(labels - 1)
        model.head, model.head_bias = self._address(head.T), self._address(weights["head_bias"])
        model.contrasts = self._address(contrasts.T)
        super().__init__(loaded.heed_forward, model, labels=labels, largest_id=vocabulary - 1)

    def _matrix(self, kernel: np.ndarray, bias: np.ndarray) -> tuple[int, int]:
        """The addresses of a matrix [inputs, outputs] in panels of 16 columns, and of its bias, both padded."""
        inputs, outputs = kernel.shape
        more = -outputs % _BLOCK
        panels = np.pad(kernel, ((0, 0), (0, more))).reshape(inputs, -1, _PANEL).transpose(1, 0, 2)
        return self._address(panels), self._address(np.pad(bias, (0, more)))

    def _address(self, array: np.ndarray) -> int:
        self._arrays.append(np.require(array, np.float32, ["C"]))
        return self._arrays[-1].ctypes.data


def lanes() -> int:
    """Return how many floats this processor's vectors hold; 0 where the kernels are not compiled, or not wanted."""
    loaded = unlocked_library()
    return 0 if loaded is None else int(loaded.heed_lanes())


def _check(weights: Mapping[str, np.ndarray], temperature: float) -> tuple[int, int]:
    """Return U and how many gates there are, once every weight is of the type and the shape that these imply."""
    if set(weights) - set(OPTIONAL) != set(REQUIRED):
        raise ValueError(
            f"Expected the weights {sorted(REQUIRED)}, and perhaps {OPTIONAL}. Received {sorted(weights)}."
        )
    for name, array in weights.items():
        if array.dtype != np.float32 or array.ndim not in (1, 2) or array.size == 0:
            raise ValueError(f"Expected {name} to be float32. Received {array.dtype}{list(array.shape)}.")
    if not (isinstance(temperature, int | float) and _LEAST_TEMPERATURE <= temperature <= 1 / _LEAST_TEMPERATURE):
        raise ValueError(f"Expected a temperature above 0. Received {temperature!r}.")
    units, width = weights["forward_recurrent"].shape if weights["forward_recurrent"].ndim == 2 else (0, 0)
    gates = 4 if weights["forward_bias"].ndim == 1 else 3
    if units == 0 or units % _PANEL or 2 * units > _MAX_INPUTS or width != gates * units:
        raise ValueError(
            f"Expected forward_recurrent [units, {gates} * units], units a multiple of {_PANEL} and at most "
            f"{_MAX_INPUTS // 2}. Received {[units, width]}."
        )
    vocabulary, features = weights["embedding"].shape[0], weights["embedding"].shape[-1]
    hidden, labels = weights["attention_kernel"].shape[-1], weights["head_bias"].shape[0]
    if vocabulary < 2 or labels < 2 or labels > _MAX_OUTPUTS or hidden > _MAX_OUTPUTS - _BLOCK:
        raise ValueError(
            f"Expected at least 2 ids, 2 to {_MAX_OUTPUTS} labels and a scoring network of at most "
            f"{_MAX_OUTPUTS - _BLOCK}. Received {vocabulary}, {labels} and {hidden}."
        )
    if 2 * 4 * vocabulary * width > _MAX_TABLE_BYTES:
        raise ValueError(f"Expected tables of at most {_MAX_TABLE_BYTES} bytes. {vocabulary} ids of {width} take more.")
    shapes: dict[str, tuple[int, ...]] = {
        "embedding": (vocabulary, features),
        "attention_kernel": (2 * units, hidden),
        "attention_query": (hidden, 1),
        "attention_bias": (hidden,),
        "head_kernel": (2 * units, labels),
        "head_bias": (labels,),
    }
    for direction in DIRECTIONS:
        shapes[f"{direction}_kernel"] = (features, width)
        shapes[f"{direction}_recurrent"] = (units, width)
        shapes[f"{direction}_bias"] = (width,) if gates == 4 else (2, width)
    for name, array in weights.items():
        if array.shape != shapes[name]:
            raise ValueError(f"Expected {name} of shape {list(shapes[name])}. Received {list(array.shape)}.")
    return units, gates


def _ordered(weight: np.ndarray, gates: int) -> np.ndarray:
    """Keras' order of an LSTM's gates, input, forget, candidate, output, with the candidate last."""
    if gates == 3:
        return weight
    into, forget, candidate, output = np.split(weight, 4, axis=-1)
    return np.concatenate([into, forget, output, candidate], axis=-1)


def _padded(outputs: int) -> int:
    return outputs + -outputs % _BLOCK
