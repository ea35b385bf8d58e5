"""Ray Serve with `@serve.batch`, started in this process and its own local cluster."""

import signal
import sys
from typing import Any

import ray
from ray import serve
from starlette.requests import Request

from benchmarks.serving.peers.classifier import MAX_BATCH, WAIT_SECONDS, WORKERS, Classifier


@serve.deployment(num_replicas=WORKERS, max_ongoing_requests=4 * MAX_BATCH, ray_actor_options={"num_cpus": 1})
class Sentiment:
    """One classifier a replica."""

    def __init__(self) -> None:
        self.classifier = Classifier()

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=WAIT_SECONDS)
    async def answers(self, texts: list[str]) -> list[dict[str, Any]]:
        """Answer a batch."""
        return self.classifier.answers(texts)

    async def __call__(self, request: Request) -> dict[str, Any]:
        """Answer one request, in the batch that Serve puts it into."""
        answer: dict[str, Any] = await self.answers((await request.json())["text"])
        return answer


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Sentiment.bind(), route_prefix="/predict")  # type: ignore[attr-defined]
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()
