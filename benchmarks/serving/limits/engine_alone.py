"""The engine that the service would use, without the service. Prints JSON; run by `benchmarks.serving limits`.

    .venv-serve/bin/python -m benchmarks.serving.limits.engine_alone '{"bundle": ..., "texts": "texts.json", ...}'

The texts are tokenized beforehand and run in the order of their lengths, all of them in one call.
"""

import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from service.inference.loading import ServingEngine, open_engine, prepare_process
from service.settings import Settings

_SINGLE_TEXTS = 256


def together(engine: ServingEngine, ids: list[np.ndarray], seconds: float) -> float:
    """Texts a second, all of them in a call."""
    run = engine.run_all
    ordered = sorted(ids, key=len)
    run(ordered)
    started, texts = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        run(ordered)
        texts += len(ordered)
    return texts / (time.perf_counter() - started)


def alone(engine: ServingEngine, ids: list[np.ndarray]) -> float:
    """Median milliseconds of a call with one text."""
    spent = []
    for text in ids[:_SINGLE_TEXTS] * 2:
        started = time.perf_counter()
        engine.run([text])
        spent.append(time.perf_counter() - started)
    return 1000 * statistics.median(spent[_SINGLE_TEXTS:])


def main() -> None:
    """Print the figures."""
    asked = json.loads(sys.argv[1])
    texts = json.loads(Path(asked["texts"]).read_text(encoding="utf-8"))
    settings = Settings()
    prepare_process(settings)
    engine = open_engine(Path(asked["bundle"]), settings)
    engine.warm()
    card, tokenizer = engine.bundle.card, engine.bundle.tokenizer
    ids = [tokenizer.encode(text, card.max_tokens).ids for text in texts]
    figures: dict[str, Any] = {
        "texts_per_second": together(engine, ids, asked["seconds"]),
        "single_p50_ms": alone(engine, ids),
        "tokens_per_text": float(np.mean([len(text) for text in ids])),
    }
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
