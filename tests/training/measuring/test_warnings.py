from typing import Any

import pytest

from training.measuring.warnings import find_warnings

ROWS = {"joy": 1000, "anger": 10}


def metrics(macro_f1: float, *, validation: int = 200) -> dict[str, Any]:
    return {
        "validation": {"texts": validation},
        "test": {"accuracy": 0.419, "macro_f1": macro_f1},
        "baselines": {
            "majority": {"label": "joy", "accuracy": 0.419, "macro_f1": 0.148},
            "bag_of_words": {"accuracy": 0.7, "macro_f1": 0.611},
        },
    }


def faithfulness(**above_chance: bool) -> dict[str, Any]:
    figures = {"comprehensiveness": 0.048, "sufficiency": 0.2}
    return {"above_chance": above_chance, "rankings": {"attention": figures, "random": figures}}


def test_without_a_test_part_validation_is_judged() -> None:
    measured = metrics(0.9) | {"validation": {"texts": 200, "accuracy": 0.5, "macro_f1": 0.6}}
    del measured["test"]
    [warning] = find_warnings(measured, ROWS, faithfulness(attention=True))
    assert warning.startswith("The model is no better than a bag of words")


def test_nothing_is_said_of_a_good_model() -> None:
    assert find_warnings(metrics(0.612), ROWS, faithfulness(attention=True)) == []
    perfect = metrics(1.0)
    perfect["baselines"]["bag_of_words"]["macro_f1"] = 1.0
    assert find_warnings(perfect, ROWS, faithfulness(attention=True)) == []


@pytest.mark.parametrize(
    ("macro_f1", "expected"),
    [(0.148, ["always answering 'joy': macro-F1 0.148 against 0.148", "a bag of words"]), (0.611, ["a bag of words"])],
)
def test_a_model_that_is_as_good_as_a_baseline_is_no_better(macro_f1: float, expected: list[str]) -> None:
    warnings = find_warnings(metrics(macro_f1), ROWS, faithfulness(attention=True))
    assert len(warnings) == len(expected)
    for warning, start in zip(warnings, expected, strict=True):
        assert warning.startswith(f"The model is no better than {start}")
        assert "Try" in warning


def test_few_texts_are_named_with_their_label() -> None:
    rows = ROWS | {"fear": 9, "[red]": 1}
    few, rare = find_warnings(metrics(0.9, validation=199), rows, faithfulness(attention=True))
    assert few.startswith("Validation has 199 texts")
    assert rare.startswith("Labels with fewer than 10 texts: 'fear' (9), '[red]' (1). ")
    [many] = find_warnings(metrics(0.9), {str(label): 1 for label in range(50)}, faithfulness(attention=True))
    assert "'9' (1) and 40 more." in many


@pytest.mark.parametrize(
    ("above_chance", "advice"),
    [
        ({"attention": False}, "Do not read them as reasons."),
        ({"attention": False, "contributions": False}, "Do not read them as reasons."),
        ({"attention": False, "contributions": True}, "Read the contributions instead."),
    ],
)
def test_weights_at_chance_are_no_reasons(above_chance: dict[str, bool], advice: str) -> None:
    [warning] = find_warnings(metrics(0.9), ROWS, faithfulness(**above_chance))
    assert "no better than chance: comprehensiveness 0.048 against 0.048" in warning
    assert warning.endswith(advice)
