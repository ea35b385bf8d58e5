"""From the outcomes of a window to its added columns."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.bundle.parts import BundleParts
from models.calibration import probabilities
from models.tokenizer import Encoding
from service.inference.engine import Result
from service.inference.errors import PredictionFailed
from service.predictions import CONTRIBUTION_DECIMALS, SCORE_DIGITS, WEIGHT_DIGITS, describe_prediction, text_warnings
from service.scoring.columns import HEAVIEST, Added
from service.scoring.forward import Outcomes, Prepared


def describe(bundle: BundleParts, added: Added, prepared: Prepared, outcomes: Outcomes) -> dict[str, list[Any]]:
    """Return the added columns by name, each with one value a row; None if a row has no such value."""
    faults = [
        fault or (outcome.detail if isinstance(outcome, PredictionFailed) else None)
        for fault, outcome in zip(prepared.faults, outcomes, strict=True)
    ]
    columns = _scores(bundle, outcomes)
    columns["truncated"] = [
        encoding.tokens_total > len(encoding.ids) if isinstance(outcome, Result) else None
        for encoding, outcome in zip(prepared.encodings, outcomes, strict=True)
    ]
    columns["warnings"] = [
        " ".join(each["code"] for each in text_warnings(encoding)) or None if isinstance(outcome, Result) else None
        for encoding, outcome in zip(prepared.encodings, outcomes, strict=True)
    ]
    if added.tokens or added.explain:
        rows = [
            _explanation(bundle, added, text, encoding, outcome) if isinstance(outcome, Result) else {}
            for text, encoding, outcome in zip(prepared.window.texts, prepared.encodings, outcomes, strict=True)
        ]
        columns |= {name: [row.get(name) for row in rows] for name in added.kinds if name not in columns}
    columns["error"] = faults
    return {added.prefix + name: columns[name] for name in added.kinds}


def _scores(bundle: BundleParts, outcomes: Outcomes) -> dict[str, list[Any]]:
    """Return label, probability and the calibrated score of every label."""
    labels = bundle.card.labels
    places = [place for place, outcome in enumerate(outcomes) if isinstance(outcome, Result)]
    logits = np.array([outcome.logits for outcome in outcomes if isinstance(outcome, Result)])
    scores = probabilities(logits.reshape(-1, len(labels)), bundle.card.temperature)  # [texts, labels]
    winners = scores.argmax(axis=1).tolist()
    columns: dict[str, list[Any]] = {name: [None] * len(outcomes) for name in ("label", "probability")}
    columns |= {f"score_{label}": [None] * len(outcomes) for label in labels}
    by_label = [columns[f"score_{label}"] for label in labels]
    for place, winner, row in zip(places, winners, scores.tolist(), strict=True):
        shown = [float(f"{score:.{SCORE_DIGITS}g}") for score in row]
        columns["label"][place] = labels[winner]
        columns["probability"][place] = shown[winner]
        for column, score in zip(by_label, shown, strict=True):
            column[place] = score
    return columns


def _explanation(
    bundle: BundleParts, added: Added, text: str | None, encoding: Encoding, result: Result
) -> dict[str, Any]:
    assert text is not None
    prediction = describe_prediction(bundle, text, encoding, result, attention=added.tokens)
    row = {name: prediction[name] for name in ("target", "base_log_odds", "tokens")}
    if added.explain:
        places = _largest(result.attention)
        row["heaviest_tokens"] = _words(text, encoding, places)
        row["heaviest_weights"] = " ".join(f"{result.attention[place]:.{WEIGHT_DIGITS}g}" for place in places)
        if result.contributions is not None:
            shares = result.contributions / bundle.card.temperature
            places = _largest(np.abs(shares))
            row["strongest_tokens"] = _words(text, encoding, places)
            row["strongest_contributions"] = " ".join(f"{shares[place]:.{CONTRIBUTION_DECIMALS}g}" for place in places)
    return row


def _largest(values: np.ndarray) -> list[int]:
    """Return the places of the `HEAVIEST` largest values, the largest first; of equal ones the earlier."""
    return np.argsort(-values, kind="stable")[:HEAVIEST].tolist()


def _words(text: str, encoding: Encoding, places: Sequence[int]) -> str:
    """Join the tokens at these places; no token holds a space."""
    return " ".join(text[encoding.starts[place] : encoding.ends[place]] for place in places)
