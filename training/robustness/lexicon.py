"""Learn from labelled reviews which adjectives praise and which blame."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training import DataError

_INTENSIFIERS = ("very", "so", "too", "really", "truly", "quite", "extremely", "incredibly", "absolutely")
_NO_ADJECTIVES = frozenset({*_INTENSIFIERS, "all", "done", "few", "gone", "here", "just", "love", "more", "not", "now"})
_NO_ADJECTIVES |= {"one", "over", "pretty", "there"}
# They lean to one side for what reviews with them are about.
_NO_JUDGEMENTS = frozenset(
    {
        *("bored", "chilling", "complex", "creepy", "dark", "different", "evil", "handsome", "innocent", "low"),
        *("natural", "obvious", "rare", "real", "sharp", "similar", "simple", "tense", "terrifying", "tight", "tired"),
        *("tough", "true", "unusual", "violent", "young"),
    }
)
_INTENSIFIER = f"(?:{'|'.join(_INTENSIFIERS)})"
_WORD = r"([a-z]{3,})\b"
_AFTER_VERY, _AFTER_BE, _BEFORE_NOUN = "after very", "after be", "before a noun"
_PATTERNS = {
    _AFTER_VERY: re.compile(rf"\b{_INTENSIFIER}\s+{_WORD}"),
    _AFTER_BE: re.compile(rf"\b(?:is|was|are|were)(?:\s+{_INTENSIFIER})?\s+{_WORD}\s*(?:[.,;!?]|<br|and\b|$)"),
    _BEFORE_NOUN: re.compile(rf"\ban?(?:\s+{_INTENSIFIER})?\s+{_WORD}\s+[a-z]{{3,}}"),
}
_LEAST_AFTER_BE = 1 / 6  # of the texts in which it is intensified; adverbs, as in "very well", have less

_Counts = dict[str, tuple[Counter[str], Counter[str]]]  # texts by place and label


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Polar adjectives with their log ratios, the strongest first; the ratios of negative words are below 0."""

    positive: dict[str, float]
    negative: dict[str, float]


def learn_lexicon(texts: Sequence[str], labels: np.ndarray, *, fewest: int = 10, least: float = 0.35) -> Lexicon:
    """Return the adjectives of English `texts` that lean to one label.

    An adjective follows "very" or its like, stands alone after a form of "be", and before a noun after "a", each in at
    least `fewest` texts. Its Naive Bayes log ratios in these three places must agree in sign; the mean of the first two
    is its ratio. The word anywhere would tell less: "good" is in as many bad reviews as good ones, "very good" is not.

    Args:
        texts: reviews.
        labels: int[texts], 1 for a positive review and 0 for a negative one.
        fewest: texts that a word must be in, in each of the three places.
        least: size of the ratio from which a word counts.

    Raises:
        DataError: no word leans to one of the labels.
    """
    counts = {place: (Counter[str](), Counter[str]()) for place in _PATTERNS}
    for text, label in zip(texts, labels, strict=True):
        lowered = text.lower()
        for place, pattern in _PATTERNS.items():
            counts[place][label].update(set(pattern.findall(lowered)))
    totals = np.bincount(labels, minlength=2)
    found = {word: _ratio(word, counts, totals, fewest) for word in {*counts[_AFTER_VERY][0], *counts[_AFTER_VERY][1]}}
    ordered = sorted(found.items(), key=lambda item: (-abs(item[1]), item[0]))
    lexicon = Lexicon(
        {word: ratio for word, ratio in ordered if ratio >= least},
        {word: ratio for word, ratio in ordered if ratio <= -least},
    )
    if not lexicon.positive or not lexicon.negative:
        raise DataError(
            f"Expected English texts with adjectives that lean to each label, in at least {fewest} texts each. "
            f"Found {len(lexicon.positive)} positive and {len(lexicon.negative)} negative ones in {len(texts):,} texts."
        )
    return lexicon


def _ratio(word: str, counts: _Counts, totals: np.ndarray, fewest: int) -> float:
    """Return the log ratio of an adjective; 0 for any other word, a rare one, or one that leans to neither label."""
    texts = {place: sum(side[word] for side in sides) for place, sides in counts.items()}
    none = word in _NO_ADJECTIVES or word in _NO_JUDGEMENTS
    adverb = texts[_AFTER_BE] < texts[_AFTER_VERY] * _LEAST_AFTER_BE
    if none or min(texts.values()) < fewest or adverb:
        return 0.0
    ratios = {place: _log_ratio(word, sides, totals) for place, sides in counts.items()}
    agree = len({np.sign(ratio) for ratio in ratios.values()}) == 1
    return (ratios[_AFTER_VERY] + ratios[_AFTER_BE]) / 2 if agree else 0.0


def _log_ratio(word: str, counts: tuple[Counter[str], Counter[str]], totals: np.ndarray) -> float:
    """Return ln of a word's rate in the positive texts by that in the negative ones, one text added to each."""
    rates = [(side[word] + 1) / (total + 2) for side, total in zip(counts, totals, strict=True)]
    return float(np.log(rates[1] / rates[0]))
