"""Forward passes by ONNX Runtime: any shape, nothing to compile, no Keras."""

from collections.abc import Iterator, Sequence

import numpy as np

from models.bundle.onnx.bundle import OnnxBundle
from models.tokenizer import PAD_ID
from service.inference.engine import Result
from service.inference.shapeless_engine import ShapelessEngine
from service.inference.shapes import Shape, bucket_of, token_buckets_for

_STEP = 16  # tokens between the lengths that texts are counted and grouped by
_PASS_TOKENS = 1024  # measured: a pass of more takes longer a text than two of half as many


class OnnxEngine(ShapelessEngine):
    """Runs one bundle's model on texts as they come, padded to the longest of a pass and no further.

    Args:
        bundle: the model and its card.
        largest_batch: texts in a forward pass, at most.
        threads: forward passes that `run_all` has under way at once.
    """

    name = "onnx"

    def __init__(self, bundle: OnnxBundle, *, largest_batch: int, threads: int = 1) -> None:
        longest = bundle.card.max_tokens
        buckets = token_buckets_for(longest, range(_STEP, longest + _STEP, _STEP))
        super().__init__(token_buckets=buckets, largest_batch=largest_batch, threads=threads)
        self.bundle = bundle

    def _passes(self, ids: Sequence[np.ndarray]) -> Iterator[list[int]]:
        places = sorted(range(len(ids)), key=lambda place: -len(ids[place]))
        while places:
            bucket = bucket_of(len(ids[places[0]]), self.token_buckets)
            batch = max(1, min(self.largest_batch, _PASS_TOKENS // bucket))
            yield places[:batch]
            places = places[batch:]

    def _run_texts(self, texts: Sequence[np.ndarray], shape: Shape) -> list[Result]:
        # The last digits of a result may depend on the shape, and `run` takes one that depends on the texts beside it.
        self._check_open()
        padded = np.full(shape, PAD_ID, np.int32)  # [batch, tokens]
        for row, text in zip(padded, texts, strict=False):
            row[: len(text)] = text
        outputs = self.bundle.model(padded)
        contributions = outputs.get("contributions")
        return [
            Result(
                logits=outputs["logits"][place],
                attention=outputs["attention"][place, : len(text)],
                contributions=None if contributions is None else contributions[place, : len(text)],
            )
            for place, text in enumerate(texts)
        ]
