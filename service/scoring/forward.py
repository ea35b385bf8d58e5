"""From the texts of a window to the outcomes of the model: tokenize, batch by length, compute."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from models.bundle.parts import BundleParts
from models.tables.rows import Window
from models.tokenizer import Encoding
from service.inference.batcher import Outcome, run_isolated
from service.inference.engine import Engine, Result, by_bucket
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
    """Tokenize the texts of each window."""
    encode, most = bundle.tokenizer.encode, bundle.card.max_tokens
    for window in windows:
        encodings = [encode("" if text is None else text, most) for text in window.texts]
        faults = [
            fault or (None if encoding.tokens_total else _NO_TOKEN)
            for fault, encoding in zip(window.faults, encodings, strict=True)
        ]
        yield Prepared(window, encodings, faults)


@dataclass(frozen=True, slots=True)
class Scorer:
    """A model made ready for whole files.

    Attributes:
        bundle: of the model.
        engine: runs it; warm to the end, so that a text always gets the same digits.
        threads: forward passes at once.
        largest_batch: texts in a forward pass, at most.
        max_batch_tokens: padded tokens in a forward pass, at most.
    """

    bundle: BundleParts
    engine: Engine
    threads: int
    largest_batch: int
    max_batch_tokens: int

    @property
    def identity(self) -> list[int | str]:
        """Return what the last digits of a result depend on."""
        bounds = (self.largest_batch, self.max_batch_tokens, int(self.engine.facts().get("vector_lanes", 0)))
        return [type(self.engine).__name__, *bounds, *self.engine.buckets]

    def start(self, prepared: Prepared, pool: Executor) -> Callable[[], Outcomes]:
        """Begin with a window; its batches follow those of the windows that were begun before.

        What is returned waits for the outcomes. It raises ScoreError if the engine fails even on a sure-good text.
        """
        ids = [encoding.ids for encoding in prepared.encodings]
        batches = [(places, pool.submit(self._run, [ids[place] for place in places])) for places in self._batches(ids)]

        def outcomes() -> Outcomes:
            found: list[Result | PredictionFailed | None] = [None] * len(ids)
            for places, batch in batches:
                for place, outcome in zip(places, batch.result(), strict=True):
                    found[place] = outcome
            return found

        return outcomes

    def _batches(self, ids: Sequence[np.ndarray]) -> Iterator[list[int]]:
        """Yield the places of the texts of each batch; a text without tokens is in none."""
        for bucket, places in by_bucket(ids, self.engine.buckets):
            size = max(1, min(self.largest_batch, self.max_batch_tokens // bucket))
            filled = [place for place in places if len(ids[place])]
            yield from (filled[start : start + size] for start in range(0, len(filled), size))

    def _run(self, ids: Sequence[np.ndarray]) -> list[Outcome]:
        outcomes, healthy = run_isolated(self.engine, ids)
        if not healthy:
            raise ScoreError("The engine fails, on a text that is surely good too. The log has the reason.")
        return outcomes
