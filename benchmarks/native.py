"""Time the kernels in C beside their references in Python and Keras: microseconds a review, on one core.

    .venv/bin/python -m benchmarks.native --data aclImdb_v1.tar.gz

Both answer the same reviews in turn, and the best round of each counts. Takes the bundle models/saved/default.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.serving.services import BUNDLE
from benchmarks.serving.texts import load_texts
from models import native
from models.bundle.parts import read_bundle_parts
from models.bundle.store import Bundle, load_bundle
from models.tokenizer import Tokenizer
from service.inference.native_engine import native_engine

TEXTS = 600
ROUNDS = 5
OUT = Path("runs/serving")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    texts = load_texts(parser.parse_args().data, OUT)[:TEXTS]
    parts = read_bundle_parts(BUNDLE)
    engine = native_engine(parts, buckets=(parts.card.max_tokens,), largest_batch=8)
    if engine is None:
        raise SystemExit("Expected compiled kernels and wide vectors. Run python -m models.native.")
    native.use(False)
    bundle = load_bundle(BUNDLE)
    ids = [parts.tokenizer.encode(text, parts.card.max_tokens).ids for text in texts]
    print("microseconds a review | Python and Keras | C | C in place of 1")
    _compare(
        "tokenize", len(texts), lambda: _tokenize(bundle.tokenizer, texts), lambda: _tokenize(parts.tokenizer, texts)
    )
    _compare("forward passes", len(texts), lambda: _run_keras(bundle, ids), lambda: engine.run(ids))


def _tokenize(tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    for text in texts:
        tokenizer.encode(text, 1024)


def _run_keras(bundle: Bundle, ids: Sequence[np.ndarray]) -> None:
    """Eight texts of similar length in a pass, padded to the longest."""
    ordered = sorted(ids, key=len)
    for first in range(0, len(ordered), 8):
        batch = ordered[first : first + 8]
        padded = np.zeros((len(batch), len(batch[-1])), np.int32)
        for row, text in zip(padded, batch, strict=True):
            row[: len(text)] = text
        bundle.model.predict_on_batch(padded)


def _compare(what: str, reviews: int, before: Callable[[], object], now: Callable[[], object]) -> None:
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for run, seconds in zip((before, now), spent, strict=True):
            started = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - started)
    one, other = (1e6 * min(seconds) / reviews for seconds in spent)
    print(f"{what} | {one:.0f} | {other:.0f} | {other / one:.2f}", flush=True)


if __name__ == "__main__":
    main()
