"""Forward passes in C: any lengths, nothing to compile, nothing padded."""

from collections.abc import Iterator, Sequence

import numpy as np

from models.bundle.store import Bundle
from service.inference.engine import Result
from service.inference.native_classifier import NativeClassifier
from service.inference.shapeless_engine import ShapelessEngine
from service.inference.shapes import Shape, bucket_of, token_buckets_for


class NativeEngine(ShapelessEngine):
    """Runs one bundle's model on texts as they come.

    What is said of a text depends neither on a shape nor on the texts beside it, to the last bit.

    Args:
        bundle: the model and its card.
        classifier: the bundle's model.
        token_buckets: lengths that texts are counted and grouped by, in rising order.
        largest_batch: texts in a forward pass, at most.
        threads: forward passes that `run_all` has under way at once.
    """

    name = "native"

    def __init__(
        self,
        bundle: Bundle,
        classifier: NativeClassifier,
        *,
        token_buckets: Sequence[int],
        largest_batch: int,
        threads: int = 1,
    ) -> None:
        buckets = token_buckets_for(bundle.card.max_tokens, token_buckets)
        super().__init__(token_buckets=buckets, largest_batch=largest_batch, threads=threads)
        self.bundle = bundle
        self.classifier = classifier

    def _passes(self, ids: Sequence[np.ndarray]) -> Iterator[list[int]]:
        bucket_of(max(map(len, ids), default=0), self.token_buckets)
        places = sorted(range(len(ids)), key=lambda place: -len(ids[place]))
        return (places[at : at + self.largest_batch] for at in range(0, len(places), self.largest_batch))

    def _run_texts(self, texts: Sequence[np.ndarray], shape: Shape) -> list[Result]:
        self._check_open()
        return self.classifier(texts)
