"""Measure saved bundles on labelled texts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from models.bundle.store import BundleCard, load_bundle
from models.calibration import probabilities
from training import DataError
from training.batches import encode_texts, for_prediction, predict_logits
from training.data.corpus import Corpus, label_counts
from training.measuring.metrics import measure, measure_labels

_LABELS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics of a bundle on labelled texts.

    Attributes:
        metrics: as `test` in a card.
        same_data: whether the bundle was trained on this corpus.
        baselines: their figures on the same texts, where the card has them.
    """

    path: Path
    card: BundleCard
    metrics: dict[str, Any]
    same_data: bool
    baselines: dict[str, Any]

    @classmethod
    def of_card(cls, path: Path, card: BundleCard) -> Self:
        """Return the figures of training."""
        return cls(path, card, card.metrics["test"], same_data=True, baselines=card.metrics["baselines"])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "bundle": self.card.name,
            "version": self.card.version,
            "mechanism": self.card.mechanism,
            "same_data": self.same_data,
            "metrics": self.metrics,
            "baselines": self.baselines,
            "card_metrics": self.card.metrics.get("test"),
        }


def evaluate(
    path: Path, corpus: Corpus, *, whole: bool = False, renamed: Mapping[str, str] | None = None
) -> Evaluation:
    """Measure the bundle at `path` on `corpus`.

    Args:
        path: folder of the bundle.
        corpus: the texts.
        whole: measure on all of its labelled texts, not on its test set alone.
        renamed: the bundle's names of labels of the corpus, where they differ.

    Raises:
        BundleError: the bundle is invalid.
        DataError: the corpus has a label that the bundle does not know, or `renamed` has one that is not there.
    """
    bundle = load_bundle(path)
    card = bundle.card
    texts = corpus.all_labelled() if whole else corpus.test
    names = _names_in(card, corpus, renamed or {})
    numbers = np.array([card.labels.index(name) for name in names], dtype=np.int32)
    encoded = encode_texts(bundle.tokenizer, texts.texts, numbers[texts.labels], card.max_tokens)
    scores = probabilities(predict_logits(for_prediction(bundle.model), encoded.ids), card.temperature)
    metrics = measure(scores, encoded.labels) | measure_labels(scores, encoded.labels, card.labels)
    same_data = card.data.get("fingerprint") == corpus.fingerprint()
    baselines = card.metrics.get("baselines", {}) if same_data and not whole else {}
    return Evaluation(path, card, metrics, same_data, baselines)


def _names_in(card: BundleCard, corpus: Corpus, renamed: Mapping[str, str]) -> list[str]:
    """Return the bundle's name of each label of `corpus`."""
    if absent := [name for name in renamed if name not in corpus.label_names]:
        raise DataError(
            f"Expected labels of {corpus.source} before = in --map, {list(corpus.label_names)}. Received {absent}."
        )
    names = [renamed.get(name, name) for name in corpus.label_names]
    counts = label_counts(corpus.all_labelled().labels, corpus.label_names)
    unknown = [
        f"{old!r} ({counts[old]:,} texts)"
        for old, new in zip(corpus.label_names, names, strict=True)
        if new not in card.labels
    ]
    if unknown:
        shown = ", ".join(unknown[:_LABELS_SHOWN]) + ", ..." * (len(unknown) > _LABELS_SHOWN)
        raise DataError(
            f"{card.name}: expected the labels {list(card.labels)}. {corpus.source} also has {shown}. "
            f"Say what each is called in the bundle: --map LABEL={card.labels[0]}."
        )
    return names
