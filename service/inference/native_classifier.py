"""The commonest classifier as one function in C: a recurrent encoder, additive pooling and a linear head."""

import ctypes
import itertools
import threading
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from models.classifier import ENCODER, HEAD
from models.layers import AdditiveAttentionPooling, LinearHead
from models.native import unlocked_library
from models.native.addresses import address_of
from models.tokenizer import UNKNOWN_ID
from service.inference.engine import Result
from service.inference.recurrence import Direction, directions_of

_PANEL = 16
_WHOLE = 4 * _PANEL
_GROUP = 8  # texts that run side by side
_WRONG_ID, _ALL_FINITE = -1, 1
"""`Outcome` of models/native/classifier.h."""
_MOST_INPUTS = 1024
_LEAST_LANES = 8  # with narrower vectors XLA's program is the quicker one


class _Product(ctypes.Structure):
    """`Product` of models/native/products.h."""

    _fields_ = [
        ("inputs", ctypes.c_int),
        ("outputs", ctypes.c_int),
        ("kernel", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
    ]


class _Direction(ctypes.Structure):
    """`Direction` of models/native/recurrence.h."""

    _fields_ = [
        ("units", ctypes.c_int),
        ("gates", ctypes.c_int),
        ("table", ctypes.c_void_p),
        ("of_state", _Product),
    ]


class _Classifier(ctypes.Structure):
    """`Classifier` of models/native/classifier.h."""

    _fields_ = [
        ("forward", _Direction),
        ("backward", _Direction),
        ("hidden", _Product),
        ("query", ctypes.c_void_p),
        ("temperature", ctypes.c_float),
        ("labels", ctypes.c_int),
        ("head", ctypes.c_void_p),
        ("head_bias", ctypes.c_void_p),
        ("contrasts", ctypes.c_void_p),
        ("first_id", ctypes.c_int),
        ("last_id", ctypes.c_int),
    ]


class NativeClassifier:
    """What such a Keras model computes, on a processor, in about half the time of XLA's program for it.

    Equations: `keras.layers.LSTM` and `keras.layers.GRU` (reset_after=True), `AdditiveAttentionPooling` with score
    "tanh", `LinearHead`. Nothing is padded, and what is said of a text is the same to the last bit in any batch. It may
    be called from several threads, and other threads run meanwhile.
    """

    def __init__(self, ways: tuple[Direction, Direction], pooling: AdditiveAttentionPooling, head: LinearHead) -> None:
        library = unlocked_library()
        assert library is not None
        self._arrays: list[np.ndarray] = []  # kept: the structures hold their addresses alone
        self.labels = head.labels
        of_head = (head.kernel, head.bias, head.contrasts(head.kernel))
        kernel, bias, contrasts = map(ops.convert_to_numpy, of_head)  # [2U, labels], [labels], [2U, labels]
        pooling_bias = None if pooling.bias is None else ops.convert_to_numpy(pooling.bias)
        hidden = self._product(ops.convert_to_numpy(pooling.kernel), pooling_bias)
        query = np.zeros(hidden.outputs, np.float32)
        query[: pooling.units] = ops.convert_to_numpy(pooling.query)[:, 0]
        self._model = _Classifier(
            *map(self._direction, ways),
            *(hidden, self._address(query), pooling.temperature, head.labels),
            *map(self._address, (kernel.T, bias, contrasts.T)),
            *(UNKNOWN_ID, len(ways[0].table) - 1),
        )
        self.address = ctypes.addressof(self._model)
        """Of the `Classifier` in models/native/classifier.h, which lives as long as this."""
        self._run = library.heed_classify
        self._run.argtypes = [ctypes.c_void_p, ctypes.c_int, *[ctypes.c_char_p] * 2, *[ctypes.c_void_p] * 5]
        self._run.restype = ctypes.c_int
        self._scratch_for = library.heed_classify_scratch
        self._scratch_for.argtypes = [ctypes.c_void_p, ctypes.c_int64]
        self._scratch_for.restype = ctypes.c_int64
        self._own = threading.local()

    @classmethod
    def of(cls, model: keras.Model) -> "NativeClassifier | None":
        """`model` in C; None where C is not compiled here, knows no such model, or Keras has something faster."""
        library = unlocked_library()
        if library is None or library.heed_lanes() < _LEAST_LANES:
            return None
        layers = {layer.name: layer for layer in model.layers}
        pooling, head = layers.get("attention"), layers[HEAD]
        if not isinstance(pooling, AdditiveAttentionPooling) or not isinstance(head, LinearHead):
            return None
        usual = pooling.score == "tanh" and pooling.activation is keras.activations.tanh
        states, *_ = keras.tree.flatten(pooling.input)
        ways = directions_of(model)
        if ways is None or not _fits(ways[0].units) or not usual or states is not layers[ENCODER].output:
            return None
        return cls(ways, pooling, head)

    def __call__(self, ids: Sequence[np.ndarray]) -> list[Result]:
        """The results of texts given as int32[tokens] each, in their order; the lengths may differ.

        Each eight neighbours run side by side, quickest where their lengths are alike.

        Raises:
            ValueError: an id is none of a token.
        """
        if not ids:
            return []
        lengths = [len(text) for text in ids]
        joined = np.concatenate(ids, dtype=np.int32)
        logits = np.empty((len(ids), self.labels), np.float32)
        attention, contributions = np.empty((2, len(joined) + 1), np.float32)  # one more: an address needs something
        scratch = self.scratch_for(lengths)
        inputs = (np.array(lengths, np.int32).tobytes(), joined.tobytes())
        outputs = map(address_of, (logits, attention, contributions, scratch))
        # All that is looked at in every number is in there, where other threads have the interpreter meanwhile.
        outcome = self._run(self.address, len(ids), *inputs, *outputs, None)
        if outcome == _WRONG_ID:
            first, last = self._model.first_id, self._model.last_id
            raise ValueError(f"Expected ids from {first} to {last}. Received {joined.min()} to {joined.max()}.")
        finite = True if outcome == _ALL_FINITE else None
        ends = itertools.accumulate(lengths)
        return [
            Result(row, attention[end - length : end], contributions[end - length : end], finite)
            for row, length, end in zip(logits, lengths, ends, strict=True)
        ]

    def scratch_for(self, lengths: Sequence[int]) -> np.ndarray:
        """This thread's scratch, float32, for neighbours of these lengths.

        To ask the kernel for megabytes at every pass would cost more than to fill them.
        """
        tokens = max(sum(lengths[at : at + _GROUP]) for at in range(0, len(lengths), _GROUP))
        size: int = self._scratch_for(self.address, tokens)
        room: np.ndarray | None = getattr(self._own, "room", None)
        if room is None or len(room) < size:
            room = self._own.room = np.empty(size, np.float32)
        return room

    def _direction(self, way: Direction) -> _Direction:
        units, gates = way.kernel.shape
        return _Direction(units, gates, self._address(way.table), self._product(way.kernel, way.bias))

    def _product(self, kernel: np.ndarray, bias: np.ndarray | None) -> _Product:
        inputs, outputs = kernel.shape
        more = -outputs % _WHOLE
        blocks = np.pad(kernel, ((0, 0), (0, more))).reshape(inputs, -1, _PANEL).transpose(1, 0, 2)
        bias = np.pad(np.zeros(outputs, np.float32) if bias is None else bias, (0, more))
        return _Product(inputs, outputs + more, self._address(blocks), self._address(bias))

    def _address(self, array: np.ndarray) -> int:
        self._arrays.append(np.require(array, np.float32, ["C", "W"]))
        return address_of(self._arrays[-1])


def _fits(units: int) -> bool:
    return units % _PANEL == 0 and 2 * units <= _MOST_INPUTS
