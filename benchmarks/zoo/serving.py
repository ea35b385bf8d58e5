"""Serve the bundle of a row: measure reviews per second and check that its weights sum to 1."""

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.serving.services import running_heed
from service.client import AsyncHeedClient
from service.client.answers import Prediction

CONNECTIONS = 32
ROUNDS = 4
# Few shapes, so that all are compiled after the first round.
SHAPES = {"HEED_BATCH_SIZES": "1,32", "HEED_TOKEN_BUCKETS": "64,128,256"}


def serve_row(bundle: Path, texts: Sequence[str]) -> dict[str, Any]:
    """Serve `bundle`, and send it `texts`, one per request, over `CONNECTIONS` connections, `ROUNDS` times.

    Returns:
        Reviews per second in the fastest round, and the largest difference of a sum of weights from 1.
    """
    with running_heed(Path(sys.executable), bundle, SHAPES) as service:
        answers, seconds = asyncio.run(_send(service.url, texts))
    return {
        "reviews_a_second": len(texts) / min(seconds),
        "largest_error_of_a_sum": max(abs(sum(token.weight for token in one.tokens) - 1) for one in answers),
    }


async def _send(url: str, texts: Sequence[str]) -> tuple[list[Prediction], list[float]]:
    seconds = []
    async with AsyncHeedClient(url) as client:
        free = asyncio.Semaphore(CONNECTIONS)

        async def ask(text: str) -> Prediction:
            async with free:
                return await client.predict(text)

        for _ in range(ROUNDS):
            started = time.monotonic()
            answers = await asyncio.gather(*(ask(text) for text in texts))
            seconds.append(time.monotonic() - started)
    return answers, seconds
