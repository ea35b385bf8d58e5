"""Measure on files of other people's texts, in JSON Lines."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training import DataError
from training.measuring.metrics import expected_calibration_error
from training.robustness.scorer import Score

ORIGINAL, REVISED = "original", "revised"


def measure_pairs(path: Path, score: Score, names: Sequence[str]) -> dict[str, Any]:
    """Measure on counterfactual pairs: texts, and the same ones revised until the verdict is the opposite.

    Args:
        path: rows with `group` (what a pair has in common), `kind` (original or revised), `label` and `text`.
        score: of the bundle.
        names: of the negative and of the positive label; 0 and 1 are understood as well.

    Returns:
        the number of pairs, accuracy on the originals and on the revised texts, and the share of pairs with both right.

    Raises:
        DataError: the file cannot be read, or a text has no counterpart.
    """
    rows = _read(path, ("group", "kind", "label", "text"))
    kinds = [row["kind"] for row in rows]
    if odd := set(map(str, kinds)) - {ORIGINAL, REVISED}:
        raise DataError(f"{path}: expected the kinds {ORIGINAL} and {REVISED}. Received {sorted(odd)}.")
    right = (score([row["text"] for row in rows]) >= 0.5) == _labels(path, rows, names)
    of = {
        kind: {r["group"]: hit for r, hit in zip(rows, right, strict=True) if r["kind"] == kind} for kind in set(kinds)
    }
    original, revised = of.get(ORIGINAL, {}), of.get(REVISED, {})
    if original.keys() != revised.keys() or len(original) + len(revised) != len(rows):
        raise DataError(f"{path}: expected one original and one revised text in each group. Found others.")
    return {
        "pairs": len(original),
        ORIGINAL: float(np.mean(list(original.values()))),
        REVISED: float(np.mean(list(revised.values()))),
        "both": float(np.mean([original[group] and revised[group] for group in original])),
    }


def measure_sentences(path: Path, score: Score, names: Sequence[str]) -> dict[str, Any]:
    """Measure on labelled texts.

    Args:
        path: rows with `label` and `text`, or `text_detok`, the text as people write it, where a row has it.
        score: of the bundle.
        names: as in `measure_pairs`.

    Returns:
        the number of texts, accuracy and expected calibration error.

    Raises:
        DataError: the file cannot be read.
    """
    rows = _read(path, ("label", "text"))
    scores = score([row.get("text_detok", row["text"]) for row in rows])
    labels = _labels(path, rows, names)
    both = np.stack([1 - scores, scores], axis=1)
    accuracy = float(((scores >= 0.5) == labels).mean())
    return {"texts": len(rows), "accuracy": accuracy, "ece": float(expected_calibration_error(both, labels))}


def _read(path: Path, fields: Sequence[str]) -> list[dict[str, Any]]:
    rows = []
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                row = json.loads(line)
                absent = [field for field in fields if not isinstance(row, dict) or field not in row]
                if absent or not isinstance(row["text"], str):
                    raise DataError(f"{path}: line {number}: expected an object with {', '.join(fields)}. {line:.80}")
                rows.append(row)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected a readable file of JSON Lines in UTF-8. {error}.") from error
    if not rows:
        raise DataError(f"{path}: expected rows. Found none.")
    return rows


def _labels(path: Path, rows: Sequence[dict[str, Any]], names: Sequence[str]) -> np.ndarray:
    """Return int64[rows], 1 for positive."""
    numbers = {"0": 0, "1": 1, names[0]: 0, names[1]: 1}
    if odd := sorted({str(row["label"]) for row in rows} - numbers.keys()):
        raise DataError(f"{path}: expected the labels 0 and 1, or {' and '.join(names)}. Received {odd[:5]}.")
    return np.array([numbers[str(row["label"])] for row in rows])
