"""What is written in C beside what it stands for: microseconds a review, on one core.

    .venv/bin/python -m benchmarks.native --data aclImdb_v1.tar.gz

Both answer the same reviews by turns, and the best round of each counts. Takes the bundle models/saved/default.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson

from benchmarks.serving.services import BUNDLE
from benchmarks.serving.texts import load_texts
from models import native
from models.bundle.store import Bundle, load_bundle
from models.tokenizer import Encoding
from service.inference.compilation import use_one_core_a_pass
from service.inference.engine import Result
from service.inference.keras_engine import Engine
from service.inference.loading import batch_tokens
from service.inference.native_classifier import NativeClassifier
from service.predictions import describe_prediction
from service.settings import Settings

TEXTS = 600
ROUNDS = 5
OUT = Path("runs/serving")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    texts = load_texts(parser.parse_args().data, OUT)[:TEXTS]
    use_one_core_a_pass()
    in_c = load_bundle(BUNDLE)
    native.use(False)
    in_python = load_bundle(BUNDLE)
    native.use(True)
    classifier = NativeClassifier.of(in_c.model)
    if classifier is None:
        raise SystemExit("Expected what is written in C. It is not compiled: run python -m models.native.")
    settings = Settings()
    engine = Engine(
        in_python,
        batch_sizes=settings.batch_sizes,
        token_buckets=settings.token_buckets,
        max_batch_tokens=batch_tokens(Engine.name, settings),
    )
    engine.warm()
    encodings = [in_c.tokenizer.encode(text, in_c.card.max_tokens) for text in texts]
    ids = [encoding.ids for encoding in encodings]
    results = classifier(ids)
    print("microseconds a review | Python and XLA | C | C in place of 1")
    _compare("tokenize", len(texts), lambda: _tokenize(in_python, texts), lambda: _tokenize(in_c, texts))
    _compare(
        "describe and write the answer",
        len(texts),
        lambda: _write(in_c, texts, encodings, results, for_json=False),
        lambda: _write(in_c, texts, encodings, results, for_json=True),
    )
    _compare("forward passes, all reviews in a call", len(texts), lambda: engine.run(ids), lambda: classifier(ids))
    _compare(
        "forward passes, each review alone",
        len(texts),
        lambda: [engine.run([text]) for text in ids],
        lambda: [classifier([text]) for text in ids],
    )


def _tokenize(bundle: Bundle, texts: Sequence[str]) -> None:
    for text in texts:
        bundle.tokenizer.encode(text, bundle.card.max_tokens)


def _write(
    bundle: Bundle, texts: Sequence[str], encodings: Sequence[Encoding], results: Sequence[Result], *, for_json: bool
) -> None:
    for text, encoding, result in zip(texts, encodings, results, strict=True):
        orjson.dumps(describe_prediction(bundle, text, encoding, result, for_json=for_json))


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
