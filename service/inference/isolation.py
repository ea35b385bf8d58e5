"""A forward pass in which a bad text fails alone, and which knows whether the engine is healthy."""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import structlog

from models.tokenizer import UNKNOWN_ID
from service.inference.engine import Result
from service.inference.errors import PredictionFailed

log = structlog.get_logger(__name__)

_PROBE = np.array([UNKNOWN_ID], np.int32)
FAILED = "Expected a forward pass. It failed on this text, and is logged; the texts beside it have their answers."
NOT_FINITE = "Expected finite numbers from the model. Received some that are not, for this text alone."


class ForwardPass(Protocol):
    """What is needed of an engine."""

    @property
    def token_buckets(self) -> Sequence[int]:
        """Padded lengths, in rising order."""

    @property
    def largest_batch(self) -> int:
        """Texts in one forward pass, at most."""

    def run(self, ids: Sequence[np.ndarray]) -> list[Result]:
        """The results of int32[tokens] each, in their order. Called from several threads at once."""


class IsolatingRunner:
    """Runs batches on an engine that may fail; its methods may be called from several threads.

    Args:
        engine: may raise anything, answer in the wrong number, or with numbers that are not finite.
    """

    def __init__(self, engine: ForwardPass) -> None:
        self._engine = engine
        self.healthy = True
        """Whether the last forward pass succeeded, of whichever thread. A bad text alone does not make the engine
        unhealthy."""

    def run(self, ids: Sequence[np.ndarray], wanted: Callable[[int], bool]) -> list[Result | PredictionFailed]:
        """One outcome for each text; never raises.

        Args:
            ids: int32[tokens] each.
            wanted: whether somebody still waits for the text at this place; others are not tried again.
        """
        outcomes = self._attempt(ids)
        if outcomes is None:
            outcomes = [PredictionFailed(FAILED) for _ in ids]
            if len(ids) > 1:
                for place in filter(wanted, range(len(ids))):
                    if alone := self._attempt(ids[place : place + 1]):
                        outcomes[place] = alone[0]
        if any(isinstance(outcome, Result) for outcome in outcomes):
            self.healthy = True
        else:
            self.probe()  # was it the texts, or is it the engine?
        return outcomes

    def probe(self) -> None:
        """Find out whether the engine is healthy, with a text that is surely good."""
        outcomes = self._attempt([_PROBE])
        healthy = outcomes is not None and isinstance(outcomes[0], Result)
        if healthy != self.healthy:
            log.warning("engine health changed", healthy=healthy)
        self.healthy = healthy

    def _attempt(self, ids: Sequence[np.ndarray]) -> list[Result | PredictionFailed] | None:
        """The outcomes of one forward pass; None where it failed as a whole."""
        try:
            results = self._engine.run(ids)
            if len(results) != len(ids):
                raise RuntimeError(f"Expected {len(ids)} results. Received {len(results)}.")
            return [result if _is_finite(result) else PredictionFailed(NOT_FINITE) for result in results]
        except (
            BaseException
        ) as error:  # whatever an engine raises must neither end its thread nor leave a client waiting
            log.warning("forward pass failed", texts=len(ids), error=repr(error))
            return None


def _is_finite(result: Result) -> bool:
    if result.finite is not None:
        return result.finite
    parts = (result.logits, result.attention, result.contributions)
    # A sum is quick and finite where all its terms are, unless it overflows.
    return all(math.isfinite(part.sum()) or bool(np.isfinite(part).all()) for part in parts if part is not None)
