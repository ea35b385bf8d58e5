"""From the texts of a window to what the model says of them: tokenize, batch by length, compute."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from models.parts import BundleParts
from models.tokenizer import Encoding
from service.engines import ServingEngine
from service.errors import PredictionFailed
from service.isolation import IsolatingRunner
from service.results import Result
from service.scoring.errors import ScoreError
from service.scoring.rows import Window
from service.shapes import Shape, bucket_of

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


class FixedShapes:
    """An engine that runs every text of one length in one and the same shape.

    Numbers computed in another shape may differ in their last digits. An engine that picks the shape which is quickest
    just then would not write the same bytes twice.

    Args:
        engine: whose shapes to take.
        batch_tokens: padded tokens in a forward pass, about.
    """

    def __init__(self, engine: ServingEngine, batch_tokens: int) -> None:
        self.bundle = engine.bundle
        self.threads = engine.threads
        self._engine = engine
        self._batch_tokens = batch_tokens
        self.token_buckets = engine.token_buckets

    @property
    def identity(self) -> list[int | str]:
        """What the last digits of a result depend on."""
        return [self._engine.name, self._batch_tokens, *self.token_buckets]

    @property
    def largest_batch(self) -> int:
        """Texts in one forward pass, at most."""
        return self.batch_of(1)

    def batch_of(self, tokens: int) -> int:
        """Texts in a forward pass whose longest has `tokens` tokens."""
        return max(1, self._batch_tokens // bucket_of(tokens, self.token_buckets))

    def batches(self, lengths: np.ndarray) -> Iterator[np.ndarray]:
        """The places of the texts of each forward pass, texts of like length together, the longest first.

        Args:
            lengths: int[texts], tokens of each; those of none are left out.
        """
        places = np.argsort(-lengths, kind="stable")[: np.count_nonzero(lengths)]
        while len(places):
            batch = self.batch_of(int(lengths[places[0]]))
            yield places[:batch]
            places = places[batch:]

    def run(self, ids: Sequence[np.ndarray]) -> list[Result]:
        """The results of one of the `batches`, or of some of its texts."""
        longest = max(map(len, ids))
        return self._engine.run_in(Shape(self.batch_of(longest), bucket_of(longest, self.token_buckets)), ids)


class Forward:
    """Runs prepared windows, several forward passes at once.

    Args:
        engine: what runs them.
    """

    def __init__(self, engine: FixedShapes) -> None:
        self._engine = engine
        self._pool = ThreadPoolExecutor(engine.threads, thread_name_prefix="forward")

    def start(self, prepared: Prepared) -> Callable[[], Outcomes]:
        """Begin with a window; its forward passes follow those of the windows that were begun before.

        What is returned waits for the outcomes. It raises ScoreError where the engine fails on texts that are surely
        good.
        """
        ids = [encoding.ids for encoding in prepared.encodings]
        batches = [batch.tolist() for batch in self._engine.batches(np.array([len(each) for each in ids]))]
        passes = [self._pool.submit(self._run_one, [ids[place] for place in batch]) for batch in batches]

        def outcomes() -> Outcomes:
            found: list[Result | PredictionFailed | None] = [None] * len(ids)
            for batch, each in zip(batches, passes, strict=True):
                for place, outcome in zip(batch, each.result(), strict=True):
                    found[place] = outcome
            return found

        return outcomes

    def _run_one(self, ids: Sequence[np.ndarray]) -> list[Result | PredictionFailed]:
        runner = IsolatingRunner(self._engine)  # its own: another pass may find the engine well at the same moment
        outcomes = runner.run(ids, lambda place: True)
        if not runner.healthy:
            raise ScoreError("Expected forward passes. They fail, on a text that is surely good too; the log says why.")
        return outcomes

    def close(self) -> None:
        """Run nothing more."""
        self._pool.shutdown(cancel_futures=True)
