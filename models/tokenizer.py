"""Split a text into tokens, with their ids and exact character spans."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from models.normalize import Places, normalize
from models.token_rules import FIRST, SECOND

try:
    from models.native.text import NativeVocabulary
except ImportError:  # the kernels are optional
    NativeVocabulary = None  # type: ignore[assignment, misc]

PAD_ID = 0
UNKNOWN_ID = 1
FIRST_WORD_ID = 2

RULES = 2
"""Version of the newest rules. Version 1 lower-cases a text to look its words up; version 2 normalizes it."""

_TOKEN_RULES = {1: FIRST, 2: SECOND}
_TYPES = {1: "words", 2: "words/2"}


@dataclass(frozen=True, slots=True)
class Encoding:
    """One text as a model reads it. `text[starts[i]:ends[i]]` is token i of the very string that was given.

    Attributes:
        ids: int32[tokens], at least `UNKNOWN_ID`.
        starts: int32[tokens], offsets in code points.
        ends: int32[tokens], offsets in code points, exclusive.
        unknown: how many of the tokens the vocabulary does not hold.
        tokens_total: tokens in the whole text, before it was cut to `max_tokens`.
    """

    ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    unknown: int
    tokens_total: int


class Tokenizer:
    """Word-level tokenizer over Unicode words, punctuation kept.

    Args:
        words: the vocabulary, spelt as `split` gives words; word i has id `FIRST_WORD_ID + i`. `PAD_ID` and
            `UNKNOWN_ID` are not words.
        rules: version of the rules by which texts are split and words looked up: 1 or 2.

    Raises:
        ValueError: a word is empty or stands twice.
    """

    def __init__(self, words: Sequence[str], rules: int = RULES) -> None:
        self.words = tuple(words)
        self.rules = rules
        self._ids = {word: FIRST_WORD_ID + position for position, word in enumerate(self.words)}
        if "" in self._ids or len(self._ids) != len(self.words):
            raise ValueError(
                f"Expected {len(self.words)} different, non-empty words. Received {len(self._ids)} different ones"
                f"{', one of them empty' if '' in self._ids else ''}."
            )
        self._native = _native_vocabulary(self.words, rules)

    @classmethod
    def fit(cls, texts: Iterable[str], *, max_words: int, min_count: int = 1) -> "Tokenizer":
        """Build a vocabulary of the `max_words` most common tokens; equally common ones in alphabetical order."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(split(text))
        ranked = sorted((word for word, count in counts.items() if count >= min_count), key=lambda w: (-counts[w], w))
        return cls(ranked[:max_words])

    @property
    def vocabulary_size(self) -> int:
        """Number of ids, `PAD_ID` and `UNKNOWN_ID` included."""
        return FIRST_WORD_ID + len(self.words)

    def encode(self, text: str, max_tokens: int) -> Encoding:
        """Return the first `max_tokens` tokens of `text`; none for a blank text. Several threads may call at once."""
        looked_up, places = _look_up(text, self.rules)
        found = self._native.encode(looked_up, max_tokens) if self._native else None
        (ids, starts, ends), unknown, tokens_total = found or self._encode(looked_up, max_tokens)
        if places:
            starts, ends = places.starts[starts], places.ends[ends - 1]
        return Encoding(ids, starts, ends, unknown, tokens_total)

    def _encode(self, looked_up: str, max_tokens: int) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], int, int]:
        """Return what the kernel returns."""
        all_starts, all_ends = _TOKEN_RULES[self.rules].spans(looked_up)
        starts, ends = all_starts[:max_tokens], all_ends[:max_tokens]
        words = [looked_up[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        ids = np.fromiter(map(self._ids.get, words, repeat(UNKNOWN_ID)), np.int32, len(words))
        return (ids, starts, ends), int(np.count_nonzero(ids == UNKNOWN_ID)), len(all_starts)

    def to_json(self) -> str:
        """Return the tokenizer as a JSON document, whose type names the rules."""
        return json.dumps({"type": _TYPES[self.rules], "words": self.words}, ensure_ascii=False)

    @classmethod
    def from_json(cls, document: str) -> "Tokenizer":
        """Rebuild a tokenizer that `to_json` wrote.

        Raises:
            ValueError: `document` is not such a JSON document.
        """
        content = json.loads(document)
        kind, words = (content.get("type"), content.get("words")) if isinstance(content, dict) else (None, None)
        rules = next((rules for rules, name in _TYPES.items() if name == kind), None)
        if rules is None or not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError(
                f'Expected {{"type": {" or ".join(map(json.dumps, _TYPES.values()))}, "words": [strings]}}. '
                "Received another JSON document."
            )
        return cls(words, rules)


def split(text: str, rules: int = RULES) -> Iterator[str]:
    """Yield the tokens of `text` as they are looked up, in order."""
    looked_up, _ = _look_up(text, rules)
    starts, ends = _TOKEN_RULES[rules].spans(looked_up)
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        yield looked_up[start:end]


def _native_vocabulary(words: Sequence[str], rules: int) -> "NativeVocabulary | None":
    """Return the vocabulary as a kernel looks it up; None where there is no kernel, or it refuses the words."""
    if NativeVocabulary is None:
        return None
    try:
        return NativeVocabulary(words, FIRST_WORD_ID, _TOKEN_RULES[rules].kinds)
    except (RuntimeError, ValueError):
        return None


def _look_up(text: str, rules: int) -> tuple[str, Places | None]:
    """Return a text as its words are looked up, and its characters' places; None where each stands in its own."""
    return (_lower(text), None) if rules == 1 else normalize(text)


def _lower(text: str) -> str:
    # U+0130 is the one code point whose lower case is longer than itself: it would shift every offset after it. The
    # final sigma is the one letter whose lower case depends on its neighbours: a token would depend on the next one.
    return text.replace("İ", "i").lower().replace("ς", "σ")
