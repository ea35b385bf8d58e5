"""The base of the forward-pass kernels: token ids in; logits, attention and contributions out."""

import ctypes
import itertools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

_MAX_TEXT_TOKENS, _MAX_TEXTS = 1 << 20, 1 << 16  # in one call; MAX_TOKENS of the kernels is larger
_INVALID, _NO_MEMORY, _WRONG_ID, _NOT_FINITE, _FINITE = range(-3, 2)


class Output(NamedTuple):
    """The outputs for one text: views into the arrays of its batch.

    Attributes:
        logits: float32[labels].
        attention: float32[tokens].
        contributions: float32[tokens].
    """

    logits: np.ndarray
    attention: np.ndarray
    contributions: np.ndarray


class Texts(NamedTuple):
    """Texts one after the other.

    Attributes:
        lengths: tokens of each text.
        ids: int32[tokens] of them all.
    """

    lengths: list[int]
    ids: np.ndarray


class Outputs(NamedTuple):
    """The outputs for texts.

    Attributes:
        logits: float32[texts, labels].
        attention: float32[tokens], one text after the other.
        contributions: float32[tokens], likewise.
        finite: whether all of them are.
    """

    logits: np.ndarray
    attention: np.ndarray
    contributions: np.ndarray
    finite: bool


class Kernel(ABC):
    """A forward pass in C. Texts are not padded, and the outputs for a text are the same to the last bit in any batch.
    Several threads may call at once; other threads run meanwhile.

    Attributes:
        labels: number of labels.
        largest_id: of a token.
    """

    labels: int
    largest_id: int

    def __call__(self, ids: Sequence[np.ndarray]) -> tuple[list[Output], bool]:
        """Return the outputs for texts given as integers[tokens] each, in order, and whether all are finite.

        Raises:
            ValueError: an id is out of range, or there are more than 65,536 texts or 1,048,576 tokens in one.
        """
        lengths = [len(text) for text in ids]
        if len(lengths) > _MAX_TEXTS or max(lengths, default=0) > _MAX_TEXT_TOKENS:
            raise ValueError(
                f"Expected at most {_MAX_TEXTS} texts of at most {_MAX_TEXT_TOKENS} tokens. "
                f"Received {len(lengths)} of up to {max(lengths)}."
            )
        joined = np.concatenate(ids, dtype=np.int32, casting="same_kind") if ids else np.zeros(0, np.int32)
        outputs = self.compute(Texts(lengths, joined))
        ends = itertools.accumulate(lengths)
        return [
            Output(row, outputs.attention[end - length : end], outputs.contributions[end - length : end])
            for row, length, end in zip(outputs.logits, lengths, ends, strict=True)
        ], outputs.finite

    @abstractmethod
    def compute(self, texts: Texts, others: np.ndarray | None = None) -> Outputs:
        """Return the outputs for texts.

        Args:
            others: float32[texts, labels], logits of another path; each kernel says how it uses them.

        Raises:
            ValueError: an id is out of range.
        """


class CompiledKernel(Kernel):
    """A kernel that is one function of the library.

    Args:
        function: of the library.
        model: its first argument.
    """

    def __init__(self, function: Any, model: ctypes.Structure, *, labels: int, largest_id: int) -> None:
        self.labels = labels
        self.largest_id = largest_id
        self._model = model
        self._run = function
        self._run.argtypes = [
            *(ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64),
            *[ctypes.c_char_p] * 3,
            *[ctypes.c_void_p] * 3,
        ]
        self._run.restype = ctypes.c_int

    def compute(self, texts: Texts, others: np.ndarray | None = None) -> Outputs:
        """Return the outputs for texts; raises as `Kernel.compute` does."""
        lengths, ids = texts
        logits = np.empty((len(lengths), self.labels), np.float32)
        attention, contributions = np.empty((2, len(ids)), np.float32)
        code = self._run(
            *(ctypes.addressof(self._model), len(lengths), len(ids)),
            *(np.array(lengths, np.int32).tobytes(), ids.tobytes(), None if others is None else others.tobytes()),
            *(array.ctypes.data for array in (logits, attention, contributions)),
        )
        if code == _WRONG_ID:
            raise ValueError(f"Expected ids from 1 to {self.largest_id}. Received {ids.min()} to {ids.max()}.")
        if code == _NO_MEMORY:
            raise MemoryError("No memory for the forward pass.")
        if code == _INVALID:
            raise ValueError(f"The kernel rejects {len(lengths)} texts of {len(ids)} tokens.")
        return Outputs(logits, attention, contributions, code == _FINITE)
