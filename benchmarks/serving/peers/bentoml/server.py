"""BentoML with adaptive batching: a batchable API takes and gives lists, of which the server makes batches."""

from typing import Any

import bentoml

from benchmarks.serving.peers.classifier import MAX_BATCH, WORKERS, Classifier


@bentoml.service(workers=WORKERS, traffic={"timeout": 120}, metrics={"enabled": False})
class Sentiment:
    """One classifier a worker."""

    def __init__(self) -> None:
        self.classifier = Classifier()

    @bentoml.api(batchable=True, max_batch_size=MAX_BATCH, max_latency_ms=60_000)
    def predict(self, texts: list[str]) -> list[dict[str, Any]]:
        """Answer a batch."""
        return self.classifier.answers(texts)
