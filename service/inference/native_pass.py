"""One forward pass in C over many texts, that several threads share."""

import ctypes
import itertools
from collections.abc import Sequence
from functools import cache

import numpy as np

from models.native import unlocked_library
from models.native.addresses import address_of
from service.inference.engine import Result
from service.inference.errors import PredictionFailed
from service.inference.native_classifier import NativeClassifier, failure_of


class _Shared(ctypes.Structure):
    """`Shared` of models/native/share.c."""

    _fields_ = [
        ("model", ctypes.c_void_p),
        ("texts", ctypes.c_int32),
        ("taken", ctypes.c_int32),
        ("lengths", ctypes.c_void_p),
        ("starts", ctypes.c_void_p),
        ("ids", ctypes.c_void_p),
        ("logits", ctypes.c_void_p),
        ("attention", ctypes.c_void_p),
        ("contributions", ctypes.c_void_p),
        ("outcomes", ctypes.c_void_p),
    ]


class SharedPass:
    """Threads that each call `run` take the next few texts, until there are none left: none waits for the interpreter
    before that.

    Args:
        classifier: what to run.
        ids: int32[tokens] each, of one token at least. Neighbours run side by side, quickest where they are of like
            length.
    """

    def __init__(self, classifier: NativeClassifier, ids: Sequence[np.ndarray]) -> None:
        self._classifier = classifier
        self._lengths = [len(text) for text in ids]
        lengths = np.array(self._lengths, np.int32)
        starts = np.cumsum(lengths, dtype=np.int64) - lengths
        joined = np.concatenate(ids, dtype=np.int32)  # [tokens]
        self._logits = np.empty((len(ids), classifier.labels), np.float32)
        self._attention, self._contributions = np.empty((2, len(joined)), np.float32)  # [tokens] each
        self._outcomes = np.empty(len(ids), np.int32)
        self._inputs = (lengths, starts, joined)  # kept: the structure holds their addresses alone
        outputs = (self._logits, self._attention, self._contributions, self._outcomes)
        addresses = map(address_of, (*self._inputs, *outputs))
        self._structure = _Shared(classifier.address, len(ids), 0, *addresses)

    def run(self) -> None:
        """Do a share of it."""
        scratch = self._classifier.scratch_for(self._lengths)
        _share()(ctypes.byref(self._structure), address_of(scratch))

    def outcomes(self) -> list[Result | PredictionFailed]:
        """What came of each text, once all that run have ended."""
        ends = itertools.accumulate(self._lengths)
        return [
            failure_of(outcome)
            or Result(row, self._attention[end - length : end], self._contributions[end - length : end], finite=True)
            for outcome, row, length, end in zip(
                self._outcomes.tolist(), self._logits, self._lengths, ends, strict=True
            )
        ]


@cache
def _share() -> "ctypes._NamedFuncPointer":
    library = unlocked_library()
    assert library is not None
    library.heed_share.argtypes, library.heed_share.restype = [ctypes.c_void_p, ctypes.c_void_p], None
    return library.heed_share
