"""Check that a running service answers reviews as `python -m training evaluate` does, alone and in batches.

    make serve                                                          # in another terminal
    .venv/bin/python -m benchmarks.agreement --data aclImdb_v1.tar.gz --reviews 1000

Takes the first test reviews of both labels, in turn; exits with 1 if a label differs.
"""

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.bundle.store import load_bundle
from models.calibration import probabilities
from service.client import HeedClient
from service.client.answers import Prediction
from training.batches import for_prediction, predict_logits
from training.data.load import load_test

BATCH = 64


def first_of_both_labels(labels: np.ndarray, count: int) -> np.ndarray:
    """Return the positions of the first `count` texts, int[count], taking the labels in turn."""
    by_label = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return np.array([position for group in zip(*by_label, strict=False) for position in group][:count])


def largest_difference(one: Sequence[Prediction], other: Sequence[Prediction]) -> float:
    """Return the largest difference of any score or weight between two answers to the same texts."""
    distance = 0.0
    for first, second in zip(one, other, strict=True):
        distance = max(distance, *(abs(first.scores[label] - second.scores[label]) for label in first.scores))
        for token, same in zip(first.tokens, second.tokens, strict=True):
            distance = max(distance, abs(token.weight - same.weight))
    return distance


def largest_law_error(predictions: Sequence[Prediction]) -> float:
    """Return the largest difference between base + contributions and the log-odds of the returned scores."""
    return max(
        abs(
            (one.base_log_odds or 0.0)
            + sum(token.contribution or 0.0 for token in one.tokens)
            - math.log(one.scores[one.target])
            + float(np.mean([math.log(score) for label, score in one.scores.items() if label != one.target]))
        )
        for one in predictions
    )


def main() -> None:
    """Print the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--reviews", type=int, default=1000)
    parser.add_argument("--bundle", type=Path, default=Path("models/saved/default"))
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    given = parser.parse_args()

    test = load_test(given.data)
    chosen = test.take(first_of_both_labels(test.labels, given.reviews))
    bundle = load_bundle(given.bundle)
    ids = [bundle.tokenizer.encode(text, bundle.card.max_tokens).ids for text in chosen.texts]
    scores = probabilities(predict_logits(for_prediction(bundle.model), ids), bundle.card.temperature)
    expected = [bundle.card.labels[winner] for winner in scores.argmax(axis=1)]

    with HeedClient(given.url) as client:
        started = time.monotonic()
        alone = [client.predict(text) for text in chosen.texts]
        alone_seconds = time.monotonic() - started
        started = time.monotonic()
        together = [
            prediction
            for first in range(0, len(chosen), BATCH)
            for prediction in client.predict_many(chosen.texts[first : first + BATCH])
        ]
        together_seconds = time.monotonic() - started

    differ = sum(
        not (label == one.label == other.label) for label, one, other in zip(expected, alone, together, strict=True)
    )
    sums = [abs(sum(token.weight for token in one.tokens) - 1) for one in alone]
    print(f"reviews: {len(chosen)}; labels that differ between evaluate, single and batched requests: {differ}")
    print(f"largest difference of a score or weight, single against batched: {largest_difference(alone, together):.1e}")
    print(f"largest difference of base + contributions from the log-odds: {largest_law_error(alone):.1e}")
    print(f"largest difference of a sum of weights from 1: {max(sums):.1e}")
    print(f"single requests: {len(chosen) / alone_seconds:.0f} reviews/s")
    print(f"requests of {BATCH}: {len(chosen) / together_seconds:.0f} reviews/s")
    raise SystemExit(1 if differ else 0)


if __name__ == "__main__":
    main()
