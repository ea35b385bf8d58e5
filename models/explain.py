"""Faithfulness of token rankings: the change of an answer when the top-ranked tokens are deleted or kept."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

SHARES = (0.01, 0.05, 0.10, 0.20, 0.50)

_RESAMPLES = 2000
_INTERVAL = (2.5, 97.5)

Predict = Callable[[Sequence[np.ndarray]], np.ndarray]  # int32[tokens] each -> probabilities float[texts, labels]


def faithfulness(
    predict: Predict, ids: Sequence[np.ndarray], rankings: Mapping[str, Sequence[np.ndarray]], *, seed: int
) -> dict[str, Any]:
    """Measure comprehensiveness and sufficiency of token rankings, compared with a random one.

    DeYoung et al. 2020, "ERASER", section 4: with c the predicted label of the whole text x, and r its top-ranked
    tokens, `comprehensiveness = p_c(x) - p_c(x without r)` (higher is better) and `sufficiency = p_c(x) - p_c(r alone)`
    (lower is better). Both are means over the texts and over r = 1, 5, 10, 20 and 50 percent of the tokens, rounded up.
    Tokens are deleted and the order of the rest is kept. Shortened texts differ from the training data, so only the
    difference from the random ranking is meaningful.

    Args:
        predict: gives calibrated probabilities of shortened texts.
        ids: texts, int32[tokens] each, at least one token.
        rankings: by name, one float[tokens] per text; the highest values rank first.
        seed: of the random ranking and the resampling.

    Returns:
        Values for `bundle.json`: both measures of each ranking and of "random"; and for each ranking the 95% interval,
        over resampled texts, of its improvement on random.
    """
    generator = np.random.default_rng(seed)
    whole = predict(ids)
    winners = whole.argmax(axis=1)
    confidence = whole[np.arange(len(ids)), winners]
    named = {**rankings, "random": [generator.random(len(one)) for one in ids]}
    drops = {name: _drops(predict, ids, values, winners, confidence) for name, values in named.items()}
    better = {}
    for name in rankings:
        picks = generator.integers(0, len(ids), (_RESAMPLES, len(ids)))  # [resamples, texts]
        better[name] = {
            "comprehensiveness": _interval(drops[name][0] - drops["random"][0], picks),
            "sufficiency": _interval(drops["random"][1] - drops[name][1], picks),
        }
    return {
        "texts": len(ids),
        "shares": list(SHARES),
        "removal": "deleted",
        "rankings": {
            name: {"comprehensiveness": float(without.mean()), "sufficiency": float(alone.mean())}
            for name, (without, alone) in drops.items()
        },
        "better_than_random_95": better,
        "above_chance": {name: all(low > 0 for low, _ in of_name.values()) for name, of_name in better.items()},
    }


def _drops(
    predict: Predict,
    ids: Sequence[np.ndarray],
    values: Sequence[np.ndarray],
    winners: np.ndarray,
    confidence: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Drop of the winner's probability without the top-ranked tokens, and with only them: float[texts] each."""
    without: list[np.ndarray] = []
    alone: list[np.ndarray] = []
    for share in SHARES:
        for one, value in zip(ids, values, strict=True):
            first = np.zeros(len(one), dtype=bool)
            first[np.argsort(-value, kind="stable")[: int(np.ceil(share * len(one)))]] = True
            without.append(one[~first])
            alone.append(one[first])
    scores = predict([*without, *alone])
    kept = scores[np.arange(len(scores)), np.tile(winners, 2 * len(SHARES))].reshape(2, len(SHARES), len(ids))
    fallen = (confidence - kept).mean(axis=1)  # [2, texts]
    return fallen[0], fallen[1]


def _interval(differences: np.ndarray, picks: np.ndarray) -> list[float]:
    """95% bootstrap interval of the mean of float[texts], from picks int[resamples, texts]."""
    return [float(bound) for bound in np.percentile(differences[picks].mean(axis=1), _INTERVAL)]
