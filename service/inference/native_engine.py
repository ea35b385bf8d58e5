"""The engine of the kernels in C: any lengths, nothing to compile, nothing padded."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from models.bundle.parts import BundleParts
from models.tokenizer import UNKNOWN_ID
from service.inference.engine import Engine, Result, buckets_up_to, by_bucket

if TYPE_CHECKING:
    from service.inference.native_classifier import NativeClassifier


def native_engine(bundle: BundleParts, *, buckets: Sequence[int], largest_batch: int) -> Engine | None:
    """Return an engine for this bundle; None if there are no kernels for it."""
    model = getattr(bundle, "model", None)
    if not hasattr(model, "layers"):  # not Keras'
        return None
    from service.inference.native_classifier import NativeClassifier

    classifier = NativeClassifier.of(model)
    return None if classifier is None else NativeEngine(bundle, classifier, buckets, largest_batch)


class NativeEngine:
    """Runs one bundle's model on texts as they come."""

    def __init__(
        self, bundle: BundleParts, classifier: "NativeClassifier", buckets: Sequence[int], largest_batch: int
    ) -> None:
        self.buckets = buckets_up_to(bundle.card.max_tokens, buckets)
        self._classifier = classifier
        self._largest_batch = largest_batch
        self._closed = False

    def warm(self) -> Iterator[None]:
        """Run a first pass."""
        self.run([np.array([UNKNOWN_ID], np.int32)])
        yield

    def run(self, ids: Sequence[np.ndarray]) -> list[Result]:
        """Return the results of texts given as int32[tokens] each, in order."""
        if self._closed:
            raise RuntimeError("The engine is closed.")
        results: dict[int, Result] = {}
        for _, places in by_bucket(ids, self.buckets):
            for start in range(0, len(places), self._largest_batch):
                part = places[start : start + self._largest_batch]
                results |= zip(part, self._classifier([ids[place] for place in part]), strict=True)
        return [results[place] for place in range(len(ids))]

    def facts(self) -> dict[str, float]:
        """Return no figures: nothing is compiled."""
        return {}

    def close(self) -> None:
        """Run nothing any more."""
        self._closed = True
