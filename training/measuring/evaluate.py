"""Measure saved bundles on labelled texts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.bundle.store import BundleCard, load_bundle
from models.calibration import probabilities
from training import DataError
from training.batches import encode_texts, for_prediction, predict_logits
from training.data import Corpus
from training.measuring.metrics import measure


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics of a bundle on the test set of a corpus.

    Attributes:
        metrics: from `training.measuring.metrics.measure`.
        same_data: whether the bundle was trained on this corpus.
    """

    path: Path
    card: BundleCard
    metrics: dict[str, float | int]
    same_data: bool

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "bundle": self.card.name,
            "version": self.card.version,
            "mechanism": self.card.mechanism,
            "same_data": self.same_data,
            "metrics": self.metrics,
            "card_metrics": self.card.metrics.get("test"),
        }


def evaluate(path: Path, corpus: Corpus) -> Evaluation:
    """Measure the bundle at `path` on the test set of `corpus`.

    Raises:
        BundleError: the bundle is invalid.
        DataError: its labels differ from those of the corpus.
    """
    bundle = load_bundle(path)
    card = bundle.card
    if set(corpus.label_names) != set(card.labels):
        raise DataError(f"{card.name}: expected the labels {list(card.labels)}. The data has {corpus.label_names}.")
    numbers = np.array([card.labels.index(name) for name in corpus.label_names], dtype=np.int32)
    test = encode_texts(bundle.tokenizer, corpus.test.texts, numbers[corpus.test.labels], card.max_tokens)
    scores = probabilities(predict_logits(for_prediction(bundle.model), test.ids), card.temperature)
    same_data = card.data.get("fingerprint") == corpus.fingerprint()
    return Evaluation(path, card, measure(scores, test.labels), same_data)
