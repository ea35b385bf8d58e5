"""Measure the engines of bundles alone, without tokenizing and serving: reviews a second of one core.

    .venv/bin/python -m benchmarks.rates models/saved/default models/saved/small --data aclImdb_v1.tar.gz

The bundles take turns with the same training reviews, in batches of like length; seconds are those of the processor.
HEED_* settings apply.
"""

import argparse
import os
import random
import statistics
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from service.inference.loading import open_model, prepare_process
from service.settings import Settings
from training.data.load import load_corpus

REVIEWS, BATCH, TURNS = 2048, 32, 9


def main() -> None:
    """Open the bundles, run every batch of reviews on each in turn, print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="the IMDB archive or folder")
    options = parser.parse_args()
    texts = random.Random(0).sample(list(load_corpus(options.data).train.texts), REVIEWS)
    settings = Settings()
    prepare_process(settings)
    engines = {}
    for path in options.bundles:
        bundle, engine = open_model(path, settings)
        list(engine.warm())
        ids = sorted((bundle.tokenizer.encode(text, bundle.card.max_tokens).ids for text in texts), key=len)
        engines[path] = engine, [ids[at : at + BATCH] for at in range(0, len(ids), BATCH)]
    rates: dict[Path, list[float]] = {path: [] for path in engines}
    for _ in range(TURNS):
        for path, (engine, batches) in engines.items():
            started = time.process_time()
            for batch in batches:
                engine.run(batch)
            rates[path].append(REVIEWS / (time.process_time() - started))
    for path, (engine, _) in engines.items():
        measured = sorted(rates[path])
        print(
            f"{path}, {type(engine).__name__}: {statistics.median(measured):,.0f} reviews/s "
            f"({measured[0]:,.0f} to {measured[-1]:,.0f})"
        )


if __name__ == "__main__":
    main()
