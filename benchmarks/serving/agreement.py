"""Compare the answers of two servers."""

from collections.abc import Sequence
from typing import Any

TOLERANCE = 1e-4


def condensed(answers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what is compared of each answer."""
    return [
        {
            "label": answer["label"],
            "scores": answer["scores"],
            "spans": [[token["start"], token["end"]] for token in answer["tokens"]],
            "texts": [token["text"] for token in answer["tokens"]],
            "weights": [token["weight"] for token in answer["tokens"]],
            "contributions": [token["contribution"] for token in answer["tokens"]],
        }
        for answer in answers
    ]


def largest_differences(ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Count texts with other labels or tokens; find the largest differences of scores, weights and contributions."""
    differences: dict[str, Any] = {"texts": len(ours), "labels": 0, "tokens": 0}
    differences |= {"scores": 0.0, "weights": 0.0, "contributions": 0.0}
    for one, other in zip(ours, theirs, strict=True):
        differences["labels"] += one["label"] != other["label"]
        if one["spans"] != other["spans"] or one["texts"] != other["texts"]:
            differences["tokens"] += 1
            continue
        distances = {
            "scores": [abs(one["scores"][label] - other["scores"][label]) for label in one["scores"]],
            "weights": [abs(a - b) for a, b in zip(one["weights"], other["weights"], strict=True)],
            "contributions": [abs(a - b) for a, b in zip(one["contributions"], other["contributions"], strict=True)],
        }
        for name, values in distances.items():
            differences[name] = max(differences[name], *values)
    return differences


def agree(differences: dict[str, Any]) -> bool:
    """Return whether labels and tokens are equal, and scores and weights within `TOLERANCE`."""
    equal = differences["labels"] == differences["tokens"] == 0
    return equal and max(differences["scores"], differences["weights"]) <= TOLERANCE
