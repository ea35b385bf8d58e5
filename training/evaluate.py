"""Measuring saved bundles on labelled texts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.bundle.store import BundleCard, load_bundle
from models.calibration import probabilities
from training.data import Corpus, LabelledTexts
from training.errors import DataError
from training.forward import compiled, predict_logits
from training.metrics import measure


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A bundle's figures on the test part of a corpus.

    Attributes:
        metrics: as `training.metrics.measure` gives them.
        same_data: whether the corpus is the one the bundle was trained and tested on.
    """

    path: Path
    card: BundleCard
    metrics: dict[str, float | int]
    same_data: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "bundle": self.card.name,
            "version": self.card.version,
            "mechanism": self.card.mechanism,
            "same_data": self.same_data,
            "metrics": self.metrics,
            "card_metrics": self.card.metrics.get("test"),
        }


def evaluate(path: Path, corpus: Corpus) -> Evaluation:
    """Measure the bundle at `path` on the test part of `corpus`.

    Raises:
        BundleError: the bundle is refused.
        DataError: its labels are not those of the corpus.
    """
    bundle = load_bundle(path)
    test = _with_labels_of(bundle.card, corpus)
    ids = [bundle.tokenizer.encode(text, bundle.card.max_tokens).ids for text in test.texts]
    scores = probabilities(predict_logits(compiled(bundle.model), ids), bundle.card.temperature)
    same_data = bundle.card.data.get("fingerprint") == corpus.fingerprint()
    return Evaluation(path, bundle.card, measure(scores, test.labels), same_data)


def _with_labels_of(card: BundleCard, corpus: Corpus) -> LabelledTexts:
    """The test texts, with labels numbered as the bundle numbers them."""
    if set(corpus.label_names) != set(card.labels):
        raise DataError(f"{card.name}: expected the labels {list(card.labels)}. The data has {corpus.label_names}.")
    renumbered = np.array([card.labels.index(name) for name in corpus.label_names], dtype=np.int32)
    return LabelledTexts(corpus.test.texts, renumbered[corpus.test.labels])
