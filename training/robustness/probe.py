"""Measure the robustness of a bundle."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.bundle.store import BundleCard
from training.robustness.files import measure_pairs, measure_sentences
from training.robustness.probes import apostrophes, length, negation, people
from training.robustness.scorer import load_scorer


def probe(
    path: Path, *, positive: str | None = None, pairs: Sequence[Path] = (), sentences: Sequence[Path] = ()
) -> tuple[BundleCard, dict[str, Any]]:
    """Measure the bundle in folder `path`.

    Args:
        path: a bundle of two labels.
        positive: the label that is positive; None is the one named positive, pos or 1.
        pairs: files of counterfactual pairs, as `measure_pairs` reads them.
        sentences: files of labelled texts, as `measure_sentences` reads them.

    Returns:
        The card of the bundle, and the figures: plain values, the section `robustness` of a card.

    Raises:
        BundleError: the bundle is invalid.
        DataError: it has not two labels, none is known to be positive, or a file cannot be read.
    """
    card, label, score = load_scorer(path, positive)
    names = [next(name for name in card.labels if name != label), label]
    return card, {
        "positive": label,
        "negation": negation(score),
        **people(score),
        "apostrophes": apostrophes(score),
        "length": length(score),
        "pairs": {file.name: measure_pairs(file, score, names) for file in pairs},
        "sentences": {file.name: measure_sentences(file, score, names) for file in sentences},
    }
