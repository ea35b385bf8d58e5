"""Probes of our own: sentences whose verdict is known, or must not depend on what is changed in them."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from training.robustness.frames import TARGETS
from training.robustness.held_out import HELD_OUT
from training.robustness.names import MEN, PROBE_NAMES, WOMEN, names_of, swap_words
from training.robustness.scorer import Score
from training.robustness.taught import TRAINING
from training.robustness.templates import every_example

GOOD = ("good", "great", "wonderful", "excellent", "brilliant", "enjoyable", "interesting", "charming", "funny", "fun")
BAD = ("bad", "terrible", "boring", "awful", "dull", "disappointing", "poor", "stupid", "horrible", "weak")
NO_VERDICT = "no verdict"

# Of and about a man; `swap_words` makes them of a woman. Half say something good or bad, so that a shift shows on both
# sides of 0.5.
_OF_NAMES = (
    "{n} plays the lead.",
    "I watched it together with {n}.",
    "The music is by {n}.",
    "The second half belongs to {n}.",
    "{n} wrote the script and directed it, too.",
    "It is the first film by {n} that I have seen.",
    "The scenes with {n} are a joy.",
    "{n} is superb in it.",
    "Thanks to {n} the evening was a delight.",
    "The scenes with {n} are a bore.",
    "{n} is dreadful in it.",
    "Because of {n} the evening was a waste of time.",
)
_OF_PRONOUNS = (
    "He plays the lead.",
    "The story follows him from his childhood to his last day.",
    "He wrote the script himself.",
    "It shows how he lost his job, and who took it.",
    "I asked him what he had made of it.",
    "His part is a small one.",
    "He is superb in it, and so is his brother.",
    "A man and his finest hour.",
    "Nobody else could have played this as well as he did.",
    "He is dreadful in it, and so is his brother.",
    "A man at his very worst.",
    "Nobody should have to sit through this because of him.",
)
_APOSTROPHES = "’‘ʼ′＇`´"
_NEUTRAL = (
    "The film runs for about two hours.",
    "It was shot in three countries.",
    "We saw it on a Tuesday.",
    "The story begins in a small town.",
    "There are two songs in the middle.",
    "A train arrives at the station.",
    "Most of it takes place indoors.",
    "The credits name a large crew.",
)
_SENTENCES_AROUND = (0, 4, 16, 48)
_REPEATED = (4, 16)


def negation(score: Score) -> dict[str, Any]:
    """Return the share of held-out template sentences that are read right.

    Returns:
        by kind of frame: accuracy for good and for bad words, and the number of texts; for frames without a verdict,
        how much higher P(positive) is with good words than with bad ones.
    """
    examples = list(every_example(GOOD, BAD, HELD_OUT))
    scores = score([example.text for example in examples])
    right = (scores >= 0.5) == (np.array([example.target for example in examples]) > 0.5)
    kinds = np.array([example.kind for example in examples])
    praise = np.array([example.praise for example in examples])
    figures: dict[str, Any] = {
        kind: {
            "good words": float(right[(kinds == kind) & praise].mean()),
            "bad words": float(right[(kinds == kind) & ~praise].mean()),
            "texts": int((kinds == kind).sum()),
        }
        for kind in TARGETS
        if kind != NO_VERDICT
    }
    none = kinds == NO_VERDICT
    shift = float(scores[none & praise].mean() - scores[none & ~praise].mean())
    return figures | {NO_VERDICT: {"shift": shift, "texts": int(none.sum())}}


def people(score: Score) -> dict[str, Any]:
    """Return the mean P(positive) of sentences that differ in a name or a pronoun alone.

    Returns:
        sexes: of women and of men, over names and pronouns, and the shift, women less men, of all, of the names alone
        and of the pronouns alone. groups: of the names of each group, and the widest difference between two of them.
    """
    of_names = {
        (group, sex): score([frame.format(n=name) for name in names_of(group, sex, PROBE_NAMES) for frame in _OF_NAMES])
        for group in PROBE_NAMES
        for sex in (WOMEN, MEN)
    }
    names = [np.concatenate([of_names[group, sex] for group in PROBE_NAMES]) for sex in (WOMEN, MEN)]
    pronouns = [score([swap_words(frame) for frame in _OF_PRONOUNS]), score(_OF_PRONOUNS)]
    # a pronoun counts as much as a name, however many names there are
    women, men = (float(names[sex].mean() + pronouns[sex].mean()) / 2 for sex in (WOMEN, MEN))
    groups = {
        group: float(np.concatenate([of_names[group, sex] for sex in (WOMEN, MEN)]).mean()) for group in PROBE_NAMES
    }
    return {
        "sexes": {
            "women": women,
            "men": men,
            "shift": women - men,
            "shift of names": float(names[WOMEN].mean() - names[MEN].mean()),
            "shift of pronouns": float(pronouns[WOMEN].mean() - pronouns[MEN].mean()),
        },
        "groups": groups | {"shift": max(groups.values()) - min(groups.values())},
    }


def apostrophes(score: Score) -> dict[str, Any]:
    """Return the share of sentences with n't whose label differs with another spelling of the apostrophe."""
    examples = (example for family in (TRAINING, HELD_OUT) for example in every_example(GOOD, BAD, family))
    texts = list(dict.fromkeys(example.text for example in examples if "n't" in example.text))
    labels = score(texts) >= 0.5
    spelled = [text.replace("'", apostrophe) for apostrophe in _APOSTROPHES for text in texts]
    differ = (score(spelled) >= 0.5) != np.tile(labels, len(_APOSTROPHES))
    return {"texts": len(texts), "spellings": len(_APOSTROPHES), "differ": float(differ.mean())}


def length(score: Score) -> dict[str, Any]:
    """Return how well a plain verdict is read amid neutral sentences, and said several times.

    Returns:
        around: accuracy by the number of neutral sentences around the verdict, half of them before it. repeated: by how
        often the sentence is said.
    """
    examples = [example for example in every_example(GOOD, BAD, HELD_OUT) if example.kind == "plain"]
    expected = np.array([example.target > 0.5 for example in examples])

    def accuracy(texts: Iterable[str]) -> float:
        return float(((score(list(texts)) >= 0.5) == expected).mean())

    def amid(text: str, number: int) -> str:
        neutral = [_NEUTRAL[position % len(_NEUTRAL)] for position in range(number)]
        return " ".join([*neutral[: number // 2], text, *neutral[number // 2 :]])

    return {
        "around": {str(n): accuracy(amid(example.text, n) for example in examples) for n in _SENTENCES_AROUND},
        "repeated": {str(n): accuracy(" ".join([example.text] * n) for example in examples) for n in _REPEATED},
    }
