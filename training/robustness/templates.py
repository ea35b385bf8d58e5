"""Sentences with a known verdict, made from frames and polar words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from training.robustness.frames import TARGETS, Family, variants
from training.robustness.taught import TRAINING

_VOWELS = "aeiou"
_SOUNDS_LIKE_U = ("uni", "use", "eu", "one")  # "a unique film"


@dataclass(frozen=True, slots=True)
class Example:
    """A sentence whose verdict is known.

    Attributes:
        text: the sentence.
        target: P(positive) to teach. To be right is to be on its side of 0.5; a target of 0.5 has none.
        kind: of its frame, as in `TARGETS`.
        praise: whether its adjective or verb praises, whatever the sentence makes of it.
    """

    text: str
    target: float
    kind: str
    praise: bool


def make_examples(
    positive: Sequence[str],
    negative: Sequence[str],
    number: int,
    generator: np.random.Generator,
    *,
    family: Family = TRAINING,
    kinds: Sequence[str] = tuple(TARGETS),
) -> list[Example]:
    """Draw sentences at random: a kind, one of its frames, a polarity, words and a context.

    Args:
        positive: adjectives that praise, such as those of a `Lexicon`.
        negative: adjectives that blame.
        number: of sentences; they may repeat.
        generator: the same sentences for the same state.
        family: the frames and their fillings. Teach with `TRAINING` alone: `HELD_OUT` is what probes measure with.
        kinds: of the frames.
    """

    def draw(choices: Sequence[str]) -> str:
        return choices[int(generator.integers(len(choices)))]

    drawn = []
    for _ in range(number):
        kind = draw(kinds)
        praise = bool(generator.integers(2))
        frame, context = (draw(variants(draw(choices))) for choices in (family.frames[kind], family.contexts))
        good, bad, subject, filler, like, dislike = map(draw, (positive, negative, *family[:4]))
        words = (good, bad, like, dislike) if praise else (bad, good, dislike, like)
        example = _example(kind, frame, praise, words, subject, filler)
        drawn.append(replace(example, text=context.format(x=example.text)))
    return drawn


def every_example(positive: Sequence[str], negative: Sequence[str], family: Family) -> Iterator[Example]:
    """Yield each frame of `family` with each adjective; alternatives, subjects, fillers and verbs take turns."""
    for kind, frames in family.frames.items():
        for row, frame in enumerate(frames):
            for praise, own, opposite in ((True, positive, negative), (False, negative, positive)):
                verbs = (family.likes, family.dislikes) if praise else (family.dislikes, family.likes)
                for turn, word in enumerate(own, start=row):
                    lists = (variants(frame), family.subjects, family.fillers, *verbs, opposite)
                    variant, subject, filler, verb, other_verb, other = (words[turn % len(words)] for words in lists)
                    yield _example(kind, variant, praise, (word, other, verb, other_verb), subject, filler)


def _example(
    kind: str, frame: str, praise: bool, words: tuple[str, str, str, str], subject: str, filler: str
) -> Example:
    word, other, verb, other_verb = words
    text = frame.format(w=word, a=with_article(word), o=other, v=verb, u=other_verb, s=subject, f=filler)
    return Example(text[0].upper() + text[1:], TARGETS[kind][0 if praise else 1], kind, praise)


def with_article(word: str) -> str:
    """Return a word after "a" or "an"."""
    vowel = word[0].lower() in _VOWELS and not word.lower().startswith(_SOUNDS_LIKE_U)
    return f"{'an' if vowel else 'a'} {word}"
