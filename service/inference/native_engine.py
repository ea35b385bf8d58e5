"""The engine whose forward passes are a kernel in C: any lengths, nothing to compile, nothing padded."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import structlog

from models.bundle.parts import MODEL_FILE, BundleParts
from models.bundle.probe import Probe
from models.bundle.verification import BundleError
from models.bundle.weights import read_weights
from models.native.forward import lanes
from models.native.hybrid import kernel_of
from models.native.kernel import Kernel
from models.tokenizer import UNKNOWN_ID
from service.inference.engine import Engine, Result, bucket_of, buckets_up_to

_LEAST_LANES = 8
"""With narrower vectors XLA and ONNX Runtime are faster at recurrent encoders."""

log = structlog.get_logger(__name__)


def native_engine(bundle: BundleParts, *, buckets: Sequence[int], largest_batch: int) -> Engine | None:
    """Return an engine that runs `bundle` on a kernel, if there is one for it here.

    None where the bundle has no index of its weights, the kernels are not compiled or not wanted, the processor has no
    wide vectors for an encoder, or the kernel's outputs differ from the bundle's probe.

    Args:
        bundle: loaded with Keras or without.
        buckets: lengths in rising order; texts are counted and grouped by the next one up.
        largest_batch: texts in a forward pass, at most.
    """
    least_lanes = 1 if bundle.card.mechanism == "ngram_attention" else _LEAST_LANES
    if bundle.kernel is None or bundle.probe is None or lanes() < least_lanes:
        return None
    try:
        kernel = kernel_of(read_weights(bundle.path / MODEL_FILE, bundle.kernel), bundle.card.config)
        difference = _difference(kernel, bundle.probe)
    except (BundleError, ValueError, TypeError, AttributeError, MemoryError) as error:  # whatever the card claims
        difference = str(error)
    if difference is not None:
        log.warning("no kernel for this model", model=bundle.card.name, reason=difference)
        return None
    return NativeEngine(kernel, buckets=buckets_up_to(bundle.card.max_tokens, buckets), largest_batch=largest_batch)


class NativeEngine:
    """An `Engine` over a kernel. The outputs for a text are the same to the last bit in any batch.

    Args:
        kernel: computes the forward passes.
        buckets: lengths in rising order; no text may be longer than the last.
        largest_batch: texts in a forward pass, at most.
    """

    def __init__(self, kernel: Kernel, *, buckets: Sequence[int], largest_batch: int) -> None:
        self.buckets: Sequence[int] = tuple(buckets)
        self._kernel = kernel
        self._largest_batch = largest_batch
        self._closed = False

    def warm(self) -> Iterator[None]:
        """Run one text; there is nothing to compile."""
        self.run([np.array([UNKNOWN_ID], np.int32)])
        yield

    def run(self, ids: Sequence[np.ndarray]) -> list[Result]:
        """Return the results of texts given as int32[tokens] each, in order; texts of similar length go together.

        Raises:
            ValueError: a text is longer than the largest bucket, or an id is out of range.
            RuntimeError: the engine is closed.
        """
        if self._closed:
            raise RuntimeError("Expected an engine that is open. This one is closed.")
        bucket_of(max(map(len, ids), default=0), self.buckets)
        places = sorted(range(len(ids)), key=lambda place: -len(ids[place]))
        results: dict[int, Result] = {}
        for at in range(0, len(places), self._largest_batch):
            batch = places[at : at + self._largest_batch]
            outputs, finite = self._kernel([ids[place] for place in batch])
            results |= {place: Result(*output, finite or None) for place, output in zip(batch, outputs, strict=True)}
        return [results[place] for place in range(len(ids))]

    def facts(self) -> Mapping[str, float]:
        """Return the width of the vectors that sums are taken by, on which the last digits depend."""
        return {"vector_lanes": lanes()}

    def close(self) -> None:
        """Run nothing any more."""
        self._closed = True


def _difference(kernel: Kernel, probe: Probe) -> str | None:
    """Describe where a kernel's outputs differ from the probe's; None if they agree."""
    outputs, _ = kernel([np.array(text.ids, np.int32) for text in probe.texts])
    names = ("logits", "attention", "contributions")
    return probe.difference({name: [getattr(output, name) for output in outputs] for name in names})
