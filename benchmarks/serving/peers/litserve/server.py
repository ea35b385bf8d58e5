"""LitServe with batching. Tokens are written as JSON by its FastAPI, from the plain values that cross its queue."""

import sys
from collections.abc import Sequence
from typing import Any

import litserve

from benchmarks.serving.peers.classifier import MAX_BATCH, WAIT_SECONDS, WORKERS, Classifier


class SentimentAPI(litserve.LitAPI):
    """Texts in batches: `predict` gets what `decode_request` gave for each request of a batch."""

    def setup(self, device: str) -> None:
        """Load the model in this worker."""
        self.classifier = Classifier()

    def decode_request(self, request: dict[str, Any]) -> str:
        """Take the text out of a request."""
        return str(request["text"])

    def batch(self, inputs: Sequence[str]) -> Sequence[str]:
        """Keep a batch of texts a list."""
        return inputs

    def predict(self, x: Sequence[str]) -> list[dict[str, Any]]:
        """Answer a batch."""
        return self.classifier.answers(x)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Keep the answers a list."""
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """Leave the answer as it is."""
        return output


if __name__ == "__main__":
    server = litserve.LitServer(
        SentimentAPI(max_batch_size=MAX_BATCH, batch_timeout=WAIT_SECONDS),
        accelerator="cpu",
        workers_per_device=WORKERS,
        fast_queue=True,
    )
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
