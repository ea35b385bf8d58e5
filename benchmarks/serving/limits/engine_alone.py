"""The engine that the service would use, without the service. Prints JSON; run by `benchmarks.serving limits`.

    .venv-serve/bin/python -m benchmarks.serving.limits.engine_alone '{"texts": "texts.json", "seconds": 5}'

The texts are tokenized beforehand and run in the order of their lengths, all of them in one call.
"""

import asyncio
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from service.registry import Registry, ServedModel
from service.settings import Settings

_SINGLE_TEXTS = 256


async def served_model(settings: Settings) -> ServedModel:
    """The default model as the service has it, all its shapes compiled.

    Raises:
        HeedError: it cannot be loaded.
    """
    registry = Registry(settings)
    await registry.start()
    while not registry.started:
        await asyncio.sleep(0.05)
    served = registry.get(None)
    await asyncio.to_thread(served.engine.warm)
    return served


def together(served: ServedModel, ids: list[np.ndarray], seconds: float) -> float:
    """Texts a second, all of them in a call."""
    run = served.engine.run_all
    ordered = sorted(ids, key=len)
    run(ordered)
    started, texts = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        run(ordered)
        texts += len(ordered)
    return texts / (time.perf_counter() - started)


def alone(served: ServedModel, ids: list[np.ndarray]) -> float:
    """Median milliseconds of a call with one text."""
    spent = []
    for text in ids[:_SINGLE_TEXTS] * 2:
        started = time.perf_counter()
        served.engine.run([text])
        spent.append(time.perf_counter() - started)
    return 1000 * statistics.median(spent[_SINGLE_TEXTS:])


def main() -> None:
    """Print the figures."""
    asked = json.loads(sys.argv[1])
    texts = json.loads(Path(asked["texts"]).read_text(encoding="utf-8"))
    served = asyncio.run(served_model(Settings()))
    card, tokenizer = served.bundle.card, served.bundle.tokenizer
    ids = [tokenizer.encode(text, card.max_tokens).ids for text in texts]
    figures: dict[str, Any] = {
        "texts_per_second": together(served, ids, asked["seconds"]),
        "single_p50_ms": alone(served, ids),
        "tokens_per_text": float(np.mean([len(text) for text in ids])),
    }
    print(json.dumps(figures), flush=True)
    os._exit(0)  # threads of the engine may be under way yet


if __name__ == "__main__":
    main()
