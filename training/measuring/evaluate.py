"""Measure saved bundles on labelled texts."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np

from models.bundle.looks import add_look
from models.bundle.parts import REPORT_FOLDER
from models.bundle.store import BundleCard, load_bundle
from training import DataError
from training.data.corpus import Corpus, LabelledTexts, fingerprint_of, label_counts, text_key
from training.data.exclusion import EXCLUDED_FILE, leave_out
from training.data.splits import split_texts
from training.measuring.answers import answers_of
from training.measuring.metrics import FIGURES, measure, measure_labels

_LABELS_SHOWN = 5
_LOGGED = ("texts", *FIGURES, "texts_in_train", "accuracy_of_others")
_VALIDATION_SHARE = 0.2  # for bundles that do not say


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics of a bundle on labelled texts.

    Attributes:
        part: what the texts are: test, validation or all.
        metrics: as of that part in a card.
        same_data: whether the bundle was trained on this corpus.
        fingerprint: of the texts; empty for figures of a card.
        baselines: their figures on the same texts, where the card has them.
    """

    path: Path
    card: BundleCard
    part: str
    metrics: dict[str, Any]
    same_data: bool
    fingerprint: str
    baselines: dict[str, Any]

    @classmethod
    def of_card(cls, path: Path, card: BundleCard) -> Self:
        """Return the figures of training."""
        part = card.measured_on
        return cls(path, card, part, card.metrics[part], True, "", card.metrics["baselines"])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "bundle": self.card.name,
            "version": self.card.version,
            "mechanism": self.card.mechanism,
            "part": self.part,
            "same_data": self.same_data,
            "metrics": self.metrics,
            "baselines": self.baselines,
            "card_metrics": self.card.metrics.get(self.part),
        }

    def log_look(self) -> int:
        """Log the figures as a look at a published test part; return how many looks there are then.

        Raises:
            BundleError: the log cannot be written.
        """
        shown = [name for name in _LOGGED if name in self.metrics]
        look = {"when": datetime.now(UTC).isoformat(timespec="seconds"), "version": self.card.version}
        return add_look(self.path, look | {"data": self.fingerprint} | {name: self.metrics[name] for name in shown})


def evaluate(
    path: Path,
    corpus: Corpus,
    *,
    test: LabelledTexts | None = None,
    whole: bool = False,
    renamed: Mapping[str, str] | None = None,
) -> Evaluation:
    """Measure the bundle at `path` on `corpus`: on its own test part, or on the validation part where it has none.

    The validation part is the one that the bundle's training held out, if it was trained on this corpus.

    Args:
        path: folder of the bundle.
        corpus: the texts.
        test: the published test part of the corpus, to measure on instead.
        whole: measure on all labelled texts of the corpus instead.
        renamed: the bundle's names of labels of the corpus, where they differ.

    Raises:
        BundleError: the bundle is invalid.
        DataError: the corpus has a label that the bundle does not know, `renamed` has one that is not there, or the
            bundle's training held out no validation part.
    """
    bundle = load_bundle(path)
    card, known = bundle.card, corpus
    if (excluded := path / REPORT_FOLDER / EXCLUDED_FILE).is_file():
        with suppress(DataError):  # other data do not hold these texts
            known = leave_out(corpus, excluded)
    own_test = corpus.test if test is None else test
    older = "" if own_test is None else fingerprint_of(known.train, own_test)  # as of cards until 0.3.0
    same_data = card.data.get("fingerprint") in {known.fingerprint(), older}
    part, texts = _texts_of(card, known if same_data else corpus, test, whole, same_data)
    names = _names_in(card, corpus, renamed or {})
    labels = np.array([card.labels.index(name) for name in names], dtype=np.int32)[texts.labels]
    scores = answers_of(bundle)(texts.texts)
    metrics = measure(scores, labels) | measure_labels(scores, labels, card.labels)
    if test is not None and corpus.test is None and same_data:
        metrics |= _without_seen(test, known, scores.argmax(axis=1) == labels)
    baselines = card.metrics.get("baselines", {}) if same_data and part == card.measured_on else {}
    return Evaluation(path, card, part, metrics, same_data, fingerprint_of(texts), baselines)


def _texts_of(
    card: BundleCard, corpus: Corpus, test: LabelledTexts | None, whole: bool, same_data: bool
) -> tuple[str, LabelledTexts]:
    """Return the texts to measure on, and what they are called."""
    if whole:
        return "all", corpus.all_labelled()
    test = corpus.test if test is None else test
    if test is not None:
        return "test", test
    if same_data and card.training.get("cross_validated"):
        raise DataError(
            f"{card.name}: expected a bundle that held out a validation part. It was cross-validated: its card has the "
            "figures of the folds. --test measures on the test part."
        )
    return "validation", validation_of(card, corpus)


def validation_of(card: BundleCard, corpus: Corpus) -> LabelledTexts:
    """Return the texts that the training of a bundle held out, given the corpus it was trained on."""
    config = card.training.get("config", {})
    chosen = config.get("data", {})
    # Older runs split by their own seed.
    share, seed = chosen.get("validation_share", _VALIDATION_SHARE), chosen.get("split_seed", config.get("seed", 1))
    return split_texts(corpus.train, corpus.label_names, share, seed, Path(corpus.source))[1]


def _without_seen(test: LabelledTexts, corpus: Corpus, right: np.ndarray) -> dict[str, Any]:
    """Return how many test texts duplicate a text to learn from, and the accuracy without these.

    Args:
        test: the texts.
        corpus: what the bundle was trained on.
        right: bool[texts], those that were classified correctly.
    """
    keys = {text_key(text) for text in corpus.train.texts}
    seen = np.array([text_key(text) in keys for text in test.texts], dtype=bool)
    return {"texts_in_train": int(seen.sum()), "accuracy_of_others": float(right[~seen].mean())}


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
