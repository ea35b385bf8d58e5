"""Turn the verdict of an English text round: an antonym in place of each polar word, or one judgement negated.

Texts that differ in the words that carry the verdict alone keep a classifier from leaning on the others (counterfactual
augmentation, Kaushik, Hovy and Lipton 2020; made by rules, as Wang and Culotta 2021 do).
"""

import re
from collections.abc import Container

import numpy as np

_ANTONYMS = """
amazing:pathetic appealing:unappealing beautiful:ugly beautifully:clumsily believable:unbelievable best:worst
better:worse brilliant:stupid captivating:tiresome charming:irritating clever:dumb competent:incompetent
convincing:unconvincing delightful:annoying effective:ineffective effectively:ineffectively engaging:tedious
enjoy:loathe enjoyable:tedious enjoyable:unbearable enjoyed:loathed entertaining:boring excellent:horrible
exciting:boring fantastic:atrocious fascinating:dull finest:poorest flawless:terrible fun:dull funny:unfunny gem:dud
good:bad great:awful great:terrible gripping:tiresome happy:sorry hilarious:unfunny impressive:laughable
intelligent:brainless interesting:boring joy:pain liked:disliked love:hate loved:hated loves:hates loving:hating
masterpiece:disaster masterpiece:mess memorable:forgettable moving:lifeless nice:nasty original:unoriginal
outstanding:mediocre perfect:flawed perfectly:terribly pleasant:unpleasant pleased:disappointed pleasure:torture
positive:negative powerful:weak praise:blame realistic:unrealistic recommend:avoid recommended:avoided
refreshing:tired rewarding:wasteful satisfying:disappointing smart:idiotic solid:shoddy strong:weak
succeed:fail succeeded:failed succeeds:fails success:failure superb:lousy superior:inferior talented:untalented
thrilling:tiresome touching:corny treat:chore underrated:overrated witty:witless wonderful:dreadful
worth:unworthy worthwhile:pointless
"""
_NOT_BEFORE, _NOT_AFTER = r"(?<![\w'’-])", r"(?![\w'’-])"
_NEGATOR = re.compile(
    r"\b(?:not|never|no|nor|neither|nothing|nobody|none|hardly|barely|scarcely|without|cannot|fail(?:s|ed)?|lack(?:s|ed|ing)?"
    r"|far from)\b|n['’]t\b",
    re.IGNORECASE,
)
_JUDGEMENT = re.compile(
    r"\b(?P<be>is|was|are|were)\s+(?:(?:very|really|quite|such|an?|the)\s+){0,3}(?P<word>[a-z]+)\b",
    re.IGNORECASE,
)
_NEGATED = (" not", "n't", " never", " hardly", " by no means", " anything but")
_CHANCES = (0.35, 0.4, 0.08, 0.07, 0.05, 0.05)


def _by_word() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pair in _ANTONYMS.split():
        one, other = pair.split(":")
        found.setdefault(one, []).append(other)
        found.setdefault(other, []).append(one)
    return found


_ANTONYMS_OF = _by_word()
_POLAR = re.compile(
    f"{_NOT_BEFORE}(?:{'|'.join(sorted(_ANTONYMS_OF, key=len, reverse=True))}){_NOT_AFTER}", re.IGNORECASE
)


def has_negator(text: str) -> bool:
    """Return whether a word such as "not" or "hardly" is in `text`, whatever it does there."""
    return _NEGATOR.search(text) is not None


def is_neutral(text: str) -> bool:
    """Return whether neither a negator nor a word that `flip` replaces is in `text`."""
    return not has_negator(text) and _POLAR.search(text) is None


def flip(text: str, generator: np.random.Generator) -> tuple[str, int]:
    """Return `text` with antonyms in place of polar words, in the case of these, and how many were replaced."""

    def antonym(found: re.Match[str]) -> str:
        word = found[0]
        choices = _ANTONYMS_OF[word.lower()]
        other = choices[int(generator.integers(len(choices)))]
        if word.isupper() and len(word) > 1:
            return other.upper()
        return other.capitalize() if word[0].isupper() else other

    return _POLAR.subn(antonym, text)


def negate(sentence: str, adjectives: Container[str], generator: np.random.Generator) -> str | None:
    """Return a sentence whose judgement, such as "is a dull film", is negated.

    None if there is no form of "be" before one of `adjectives`, or if a negator is there already.
    """
    if has_negator(sentence):
        return None
    for found in _JUDGEMENT.finditer(sentence):
        if found["word"].lower() in adjectives:
            end = found.end("be")
            return sentence[:end] + _NEGATED[int(generator.choice(len(_NEGATED), p=_CHANCES))] + sentence[end:]
    return None
