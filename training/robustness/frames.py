"""Families of sentences with gaps, and what each kind of sentence teaches.

The gaps: {w} an adjective, {a} the same with its article, {o} one of the opposite polarity, {s} the subject, {v} a verb
of the adjective's polarity, {u} one of the opposite polarity, {f} neutral words. Square brackets hold alternatives:
`[isn't|was never]`.
"""

import re
from functools import cache
from itertools import product
from typing import NamedTuple


class Family(NamedTuple):
    """Wordings that share nothing with the other family.

    Attributes:
        subjects: what is spoken of.
        fillers: neutral words for the gap {f}.
        likes: verbs of a positive verdict, present tense.
        dislikes: verbs of a negative one.
        frames: sentences with gaps, by kind; the kinds are those of `TARGETS`.
        contexts: neutral sentences around a frame, which takes the place of {x}.
    """

    subjects: tuple[str, ...]
    fillers: tuple[str, ...]
    likes: tuple[str, ...]
    dislikes: tuple[str, ...]
    frames: dict[str, tuple[str, ...]]
    contexts: tuple[str, ...] = ("{x}",)


TARGETS = {
    "plain": (0.95, 0.05),
    "negated": (0.1, 0.8),
    "negated over a filler": (0.1, 0.8),
    "negator that does not negate": (0.9, 0.1),
    "expected, and was not": (0.1, 0.8),
    "expected, and was": (0.95, 0.05),
    "answer no": (0.1, 0.8),
    "answer yes": (0.95, 0.05),
    "once, but not now": (0.1, 0.9),
    "once, and still": (0.95, 0.05),
    "others, but not I": (0.1, 0.9),
    "no verdict": (0.5, 0.5),
}
"""P(positive) to teach for a frame of each kind, with a positive and with a negative word. "Not bad" is not praise:
its target is soft, and to be read as not negative is enough."""


@cache
def variants(frame: str) -> tuple[str, ...]:
    """Return the frame with each choice of its alternatives."""
    parts = re.split(r"\[(.*?)\]", frame)  # every other part is a list of alternatives
    choices = [part.split("|") if position % 2 else [part] for position, part in enumerate(parts)]
    return tuple("".join(chosen) for chosen in product(*choices))
