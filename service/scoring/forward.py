"""From the texts of a window to what the model says of them: tokenize, batch by length, compute."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from models.bundle.parts import BundleParts
from models.tables.rows import Window
from models.tokenizer import Encoding
from service.inference.engine import Result
from service.inference.errors import PredictionFailed
from service.scoring.errors import ScoreError

Outcomes = Sequence[Result | PredictionFailed | None]
"""One for each row of a window; None where there is nothing to read."""

_NO_TOKEN = "Expected a text with at least one word. Received a text with none."


@dataclass(frozen=True, slots=True)
class Prepared:
    """A window, tokenized.

    Attributes:
        window: the rows.
        encodings: of each text; of no token where a row has a fault.
        faults: why a row cannot be classified; None where it can.
    """

    window: Window
    encodings: list[Encoding]
    faults: list[str | None]


def prepare(windows: Iterable[Window], bundle: BundleParts) -> Iterator[Prepared]:
    """The windows with their texts tokenized."""
    encode, most = bundle.tokenizer.encode, bundle.card.max_tokens
    for window in windows:
        encodings = [encode("" if text is None else text, most) for text in window.texts]
        faults = [
            fault or (None if encoding.tokens_total else _NO_TOKEN)
            for fault, encoding in zip(window.faults, encodings, strict=True)
        ]
        yield Prepared(window, encodings, faults)


class Passes(Protocol):
    """The forward passes of a window."""

    @property
    def calls(self) -> Sequence[Callable[[], None]]:
        """To be called once each, in any order and from any thread; together they do all of it."""

    def outcomes(self) -> Sequence[Result | PredictionFailed]:
        """Of each text, once all calls have ended.

        Raises:
            ScoreError: the engine fails on texts that are surely good.
        """


class FileEngine(Protocol):
    """What classifies the texts of files: the same texts get the same numbers, to the last bit."""

    @property
    def bundle(self) -> BundleParts:
        """Whose model it runs."""

    @property
    def threads(self) -> int:
        """Calls at once."""

    @property
    def identity(self) -> list[int | str]:
        """What the last digits of a result depend on."""

    def passes(self, ids: Sequence[np.ndarray]) -> Passes:
        """Those for texts given as int32[tokens] each, of at least one token; the longest come first."""


class Forward:
    """Runs prepared windows, on all threads of an engine.

    Args:
        engine: what runs them.
    """

    def __init__(self, engine: FileEngine) -> None:
        self._engine = engine
        self._pool = ThreadPoolExecutor(engine.threads, thread_name_prefix="forward")

    def start(self, prepared: Prepared) -> Callable[[], Outcomes]:
        """Begin with a window; its forward passes follow those of the windows that were begun before.

        What is returned waits for the outcomes. It raises ScoreError where the engine fails on texts that are surely
        good.
        """
        lengths = np.array([len(encoding.ids) for encoding in prepared.encodings])
        places = np.argsort(-lengths, kind="stable")[: np.count_nonzero(lengths)].tolist()
        passes = self._engine.passes([prepared.encodings[place].ids for place in places])
        calls = [self._pool.submit(call) for call in passes.calls]

        def outcomes() -> Outcomes:
            for call in calls:
                call.result()
            found: list[Result | PredictionFailed | None] = [None] * len(lengths)
            for place, outcome in zip(places, passes.outcomes(), strict=True):
                found[place] = outcome
            return found

        return outcomes

    def close(self) -> None:
        """Run nothing more."""
        self._pool.shutdown(cancel_futures=True)


def sick() -> ScoreError:
    """What ends a run on an engine that fails on any text."""
    return ScoreError("Expected forward passes. They fail, on a text that is surely good too; the log says why.")
