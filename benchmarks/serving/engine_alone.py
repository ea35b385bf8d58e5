"""Print the median milliseconds of a forward pass over one text, with the engine the service would use.

    .venv-serve/bin/python -m benchmarks.serving.engine_alone models/saved/default texts.json

HEED_* settings apply. `texts.json` is a list of texts, which are tokenized beforehand.
"""

import json
import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from service.inference.loading import open_model, prepare_process
from service.settings import Settings

ROUNDS = 2


def main() -> None:
    """Warm the engine, run every text, print the median."""
    path, texts = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    settings = Settings()
    prepare_process(settings)
    bundle, engine = open_model(path, settings)
    for _ in engine.warm():
        pass
    ids = [bundle.tokenizer.encode(text, bundle.card.max_tokens).ids for text in texts]
    spent = []
    for one in ids * ROUNDS:
        started = time.perf_counter()
        engine.run([one])
        spent.append(time.perf_counter() - started)
    print(1000 * statistics.median(spent[len(ids) :]), flush=True)


if __name__ == "__main__":
    main()
