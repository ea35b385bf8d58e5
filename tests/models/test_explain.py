from collections.abc import Sequence

import numpy as np
import pytest

from models.explain import SHARES, faithfulness

TELLING = 7


def predict(texts: Sequence[np.ndarray]) -> np.ndarray:
    """Give label 1 probability 0.9 if the telling token is present, else 0.5."""
    scores = np.array([0.9 if TELLING in text else 0.5 for text in texts])
    return np.stack([1 - scores, scores], axis=1)


def texts(count: int, tokens: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    made = [generator.integers(10, 99, tokens).astype(np.int32) for _ in range(count)]
    for text in made:
        text[generator.integers(tokens)] = TELLING
    return made


def test_a_good_ranking_is_above_chance_by_the_expected_margin() -> None:
    ids = texts(40, 20)
    right = [(text == TELLING).astype(float) for text in ids]
    figures = faithfulness(predict, ids, {"right": right, "wrong": [-one for one in right]}, seed=1)
    assert figures["rankings"]["right"] == pytest.approx({"comprehensiveness": 0.4, "sufficiency": 0.0})
    assert figures["rankings"]["wrong"] == pytest.approx({"comprehensiveness": 0.0, "sufficiency": 0.4})
    # A random ranking holds the telling token with probability ceil(share * n) / n.
    held = np.mean([np.ceil(share * 20) / 20 for share in SHARES])
    assert figures["rankings"]["random"]["comprehensiveness"] == pytest.approx(0.4 * held, abs=0.05)
    assert figures["rankings"]["random"]["sufficiency"] == pytest.approx(0.4 * (1 - held), abs=0.05)
    assert figures["above_chance"] == {"right": True, "wrong": False}


def test_a_random_ranking_is_not_above_chance_and_results_repeat() -> None:
    ids = texts(40, 20)
    ranking = {"noise": [np.random.default_rng(9).random(20) for _ in ids]}
    figures = faithfulness(predict, ids, ranking, seed=1)
    assert figures["above_chance"] == {"noise": False}
    assert figures == faithfulness(predict, ids, ranking, seed=1)


def test_token_order_is_kept_and_a_text_may_have_one_token() -> None:
    seen: list[np.ndarray] = []

    def remember(given: Sequence[np.ndarray]) -> np.ndarray:
        seen.extend(given)
        return predict(given)

    ids = [np.arange(10, 31, dtype=np.int32), np.array([TELLING], np.int32)]
    faithfulness(remember, ids, {"falling": [-one.astype(float) for one in ids]}, seed=1)
    assert all((np.diff(text) > 0).all() for text in seen)
    assert {len(text) for text in seen} >= {0, 1, 10, 11, 20, 21}
