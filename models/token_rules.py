"""Token boundaries: a pattern for any text, and a faster table of character kinds for most texts."""

from functools import cached_property

import numpy as np
import regex

# A line break of HTML is a space. A word is letters, marks and digits with single apostrophes between them. Anything
# else that is visible is a token, whole grapheme by whole grapheme, so that an emoji or an accented letter is never cut
# in two; a character that would join whatever follows it, even a space, is a token by itself. Flags are spelt out,
# since \X looks back over all the regional indicators before it: a run of them would take time in its square.
_BREAK = r"<br\s*/?>"
_SYMBOL = (
    r"[!-/:-@\[-`{-~]|\p{Grapheme_Cluster_Break=Prepend}"
    r"|\p{Regional_Indicator}{1,2}+(?:(?=\p{Grapheme_Cluster_Break=Extend}|\p{Grapheme_Cluster_Break=ZWJ}"
    r"|\p{Grapheme_Cluster_Break=SpacingMark})\X)?+|(?=\S)\X"
)
_JOINS = (
    r"[\p{Grapheme_Cluster_Break=Extend}\p{Grapheme_Cluster_Break=ZWJ}\p{Grapheme_Cluster_Break=SpacingMark}"
    r"\p{Grapheme_Cluster_Break=Prepend}\p{Regional_Indicator}]"
)

CODES = 0x20000
"""Code points from here on have no kind: their texts are split by pattern."""

# In a text where no character joins another in one grapheme, letters of Hangul aside, the kinds of a character and of
# its two neighbours tell the tokens. The numbers of kinds are those in native/tokenizer.c.
_SPACE, _WORD, _APOSTROPHE, _SINGLE, _JOINING = 0, 1, 2, 4, 8
_LINE_BREAK = regex.compile(_BREAK)


class TokenRules:
    """Finds the tokens of a lower-cased text.

    Args:
        pattern: matches a token.
        letters: what words are made of, a class of characters.
        apostrophes: what may stand singly between letters.
        joins: what may share a token with the character before or after it, though not both are letters.
    """

    def __init__(self, pattern: str, *, letters: str, apostrophes: str, joins: str = _JOINS) -> None:
        self._pattern = regex.compile(f"{_BREAK}(*SKIP)(*FAIL)|{pattern}", regex.V1)
        self._classes = {_SINGLE: r"\S", _WORD: letters, _APOSTROPHE: f"[{apostrophes}]", _JOINING: joins}

    @cached_property
    def kinds(self) -> np.ndarray:
        """The kind of each code point: uint8[CODES]."""
        kinds = np.full(CODES, _SPACE, np.uint8)
        every = "".join(map(chr, range(CODES)))
        for kind, letters in self._classes.items():
            for found in regex.finditer(f"{letters}+", every, regex.V1):
                kinds[slice(*found.span())] = kind
        return kinds

    @cached_property
    def _ascii_kinds(self) -> bytes:
        return self.kinds[:256].tobytes()

    def spans(self, lowered: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the starts and ends of all tokens: int32[tokens] each."""
        kinds = self.kinds_in(lowered)
        return self.spans_by_pattern(lowered) if kinds is None else spans_by_kind(kinds)

    def spans_by_pattern(self, lowered: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the starts and ends of all tokens of any text: int32[tokens] each."""
        spans = [match.span() for match in self._pattern.finditer(lowered)]
        offsets = np.array(spans, dtype=np.int32).reshape(-1, 2)
        return offsets[:, 0], offsets[:, 1]

    def kinds_in(self, lowered: str) -> np.ndarray | None:
        """Return each character's kind, with a space before and after; None where kinds do not tell the tokens."""
        if "<br" in lowered:
            lowered = _LINE_BREAK.sub(lambda found: " " * len(found.group()), lowered)
        kinds = np.zeros(len(lowered) + 2, np.uint8)
        if lowered.isascii():
            kinds[1:-1] = np.frombuffer(lowered.encode("ascii").translate(self._ascii_kinds), np.uint8)
            return kinds
        codes = np.frombuffer(lowered.encode("utf-32-le", "surrogatepass"), np.uint32)
        if codes.max() >= CODES:
            return None
        kinds[1:-1] = self.kinds[codes]
        return None if (kinds == _JOINING).any() else kinds


def spans_by_kind(kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the starts and ends of all tokens, in a fifth of the time that the pattern takes."""
    word = kinds == _WORD
    word[1:-1] |= (kinds[1:-1] == _APOSTROPHE) & word[:-2] & word[2:]
    single = (kinds >= _APOSTROPHE) & ~word
    starts = np.flatnonzero(single[1:-1] | (word[1:-1] & ~word[:-2]))
    ends = np.flatnonzero(single[1:-1] | (word[1:-1] & ~word[2:])) + 1
    return starts.astype(np.int32), ends.astype(np.int32)


FIRST = TokenRules(rf"\w++(?:['’]\w++)*+|{_SYMBOL}", letters=r"\w", apostrophes="'’")
"""The rules of bundles up to version 0.3.0, for lower-cased texts."""

_UNSPACED = (
    r"[[\p{scx=Hani}\p{scx=Hira}\p{scx=Kana}\p{scx=Thai}\p{scx=Laoo}\p{scx=Khmr}\p{scx=Mymr}]--\p{Script=Inherited}]"
)
_SYLLABLE = rf"(?={_UNSPACED})\X\p{{M}}*+"
_AM = r"(?:(?<=\u0e4d)\u0e32|(?<=\u0ecd)\u0eb2)?+"  # of Thai and Lao: one vowel sign, which NFKC takes apart
_LETTERS = rf"[\w--{_UNSPACED}]"
_RUN = rf"(?:(?![0-9]\u20e3){_LETTERS})++"

SECOND = TokenRules(
    rf"[0-9#*]\u20e3|{_RUN}(?:'{_RUN})*+|(?:{_SYLLABLE}|{_SYMBOL}){_AM}",
    letters=_LETTERS,
    apostrophes="'",
    joins=rf"[{_JOINS}[\p{{M}}&&{_UNSPACED}]]",
)
"""The rules for texts that `normalize` returns. Each character of a script without spaces is a token, with its vowel
signs, and so is a keycap."""

_EXTEND = r"\p{Grapheme_Cluster_Break=Extend}"
WHOLE = regex.compile(
    rf"[{_LETTERS}--\p{{M}}]{_LETTERS}*+(?<![0-9])|[{_UNSPACED}--[\p{{M}}\u0e32\u0eb2]]\p{{M}}*+"
    rf"|[{_LETTERS}&&{_EXTEND}]++|[{_UNSPACED}&&{_EXTEND}]++|\u0e4d\u0e32|\u0ecd\u0eb2",
    regex.V1,
)
"""Matches text that stays one token under the second rules, whatever its neighbours."""
