"""Warnings about a trained classifier, in plain words."""

from collections.abc import Mapping
from typing import Any

from models.bundle.card import measured_part

FEW_VALIDATION_TEXTS = 200
FEW_ROWS = 10
_LABELS_SHOWN = 10
_TRY = "Try other settings (`train auto` chooses some) or more texts."


def find_warnings(metrics: Mapping[str, Any], rows: Mapping[str, int], faithfulness: Mapping[str, Any]) -> list[str]:
    """Return what to know before the classifier is used; nothing if all is well.

    Args:
        metrics: those of the card.
        rows: the number of texts of each label, over all splits.
        faithfulness: that of the card.
    """
    return [
        *_no_better_than_baselines(metrics[measured_part(metrics)], metrics["baselines"]),
        *_few_texts(metrics["validation"]["texts"], rows),
        *_unfaithful(faithfulness),
    ]


def _no_better_than_baselines(measured: Mapping[str, Any], baselines: Mapping[str, Any]) -> list[str]:
    rivals = {
        f"always answering {baselines['majority']['label']!r}": baselines["majority"],
        "a bag of words (TF-IDF and logistic regression)": baselines["bag_of_words"],
    }
    return [
        f"The model is no better than {name}: macro-F1 {measured['macro_f1']:.3f} against {rival['macro_f1']:.3f}, "
        f"accuracy {measured['accuracy']:.3f} against {rival['accuracy']:.3f}. {_TRY}"
        for name, rival in rivals.items()
        if measured["macro_f1"] <= rival["macro_f1"] and measured["macro_f1"] < 1
    ]


def _few_texts(validation: int, rows: Mapping[str, int]) -> list[str]:
    found = []
    if validation < FEW_VALIDATION_TEXTS:
        found.append(
            f"Validation has {validation} texts, fewer than {FEW_VALIDATION_TEXTS}: the end of training and the "
            "probabilities depend on chance. Add texts."
        )
    rare = [f"{name!r} ({count})" for name, count in rows.items() if count < FEW_ROWS]
    if rare:
        shown = ", ".join(rare[:_LABELS_SHOWN]) + (
            f" and {len(rare) - _LABELS_SHOWN} more" * (len(rare) > _LABELS_SHOWN)
        )
        found.append(
            f"Labels with fewer than {FEW_ROWS} texts: {shown}. The model hardly learns them, and their figures mean "
            "little. Add texts, merge labels or leave them out."
        )
    return found


def _unfaithful(faithfulness: Mapping[str, Any]) -> list[str]:
    above_chance = faithfulness["above_chance"]
    if above_chance["attention"]:
        return []
    attention, random = faithfulness["rankings"]["attention"], faithfulness["rankings"]["random"]
    return [
        "The attention weights explain predictions no better than chance: "
        f"comprehensiveness {attention['comprehensiveness']:.3f} against {random['comprehensiveness']:.3f} of a random "
        f"ranking, sufficiency {attention['sufficiency']:.3f} against {random['sufficiency']:.3f} (lower is better). "
        + ("Read the contributions instead." if above_chance.get("contributions") else "Do not read them as reasons.")
    ]
