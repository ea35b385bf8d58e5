"""The ONNX Runtime engine: any shape, nothing to compile, no Keras."""

from collections.abc import Iterator, Sequence

import numpy as np

from models.bundle.onnx.bundle import OnnxBundle
from models.tokenizer import UNKNOWN_ID
from service.inference.engine import Result, buckets_up_to, by_bucket, pad, results_of

_PASS_TOKENS = 1024  # measured: a pass of more takes longer a text than two of half as many


class OnnxEngine:
    """Runs one bundle's model on texts as they come, padded to the longest of a pass and no further.

    Args:
        bundle: the model and its card.
        buckets: lengths that texts are counted and grouped by, in rising order.
    """

    def __init__(self, bundle: OnnxBundle, *, buckets: Sequence[int]) -> None:
        self.bundle = bundle
        self.buckets = buckets_up_to(bundle.card.max_tokens, buckets)
        self._closed = False

    def warm(self) -> Iterator[None]:
        """Run a first pass, which sets up what is set up only once."""
        self.run([np.array([UNKNOWN_ID], np.int32)])
        yield

    def run(self, ids: Sequence[np.ndarray]) -> list[Result]:
        """Return the results of texts given as int32[tokens] each, in order; the texts of one bucket share passes.

        Raises:
            ValueError: a text is longer than the largest bucket.
            RuntimeError: the engine is closed.
        """
        if self._closed:
            raise RuntimeError("The engine is closed.")
        results: dict[int, Result] = {}
        for bucket, places in by_bucket(ids, self.buckets):
            batch = max(1, _PASS_TOKENS // bucket)
            for start in range(0, len(places), batch):
                texts = [ids[place] for place in places[start : start + batch]]
                outputs = self.bundle.model(pad(texts, len(texts), max(1, len(texts[0]))))
                results |= zip(places[start:], results_of(outputs, texts), strict=False)
        return [results[place] for place in range(len(ids))]

    def facts(self) -> dict[str, float]:
        """Return no figures: nothing is compiled."""
        return {}

    def close(self) -> None:
        """Run nothing any more; a forward pass that is under way ends normally."""
        self._closed = True
