import re
from collections.abc import Iterator

import numpy as np
import pytest

from training.robustness.frames import HELD_OUT, TARGETS, TRAINING, Family
from training.robustness.templates import Example, every_example, make_examples, with_article

GOOD, BAD = ("good", "excellent"), ("bad", "awful")


def examples(family: Family = TRAINING, number: int = 600, seed: int = 1) -> list[Example]:
    return make_examples(GOOD, BAD, number, np.random.default_rng(seed), family=family)


def frames(family: Family) -> Iterator[str]:
    return (frame for kind in family.frames.values() for frame in kind)


def runs(frame: str, length: int = 5) -> set[tuple[str, ...]]:
    """Every run of so many tokens; a gap is one."""
    tokens = re.findall(r"\{\w\}|[\w']+|[^\w\s]", frame.lower().replace(", {f},", "{f}"))
    return set(zip(*(tokens[start:] for start in range(length)), strict=False))


def test_the_families_share_no_wording() -> None:
    taught = set().union(*map(runs, frames(TRAINING)))
    assert not {frame: shared for frame in frames(HELD_OUT) if (shared := runs(frame) & taught)}
    assert not set(frames(TRAINING)) & set(frames(HELD_OUT))
    for own, other in zip(TRAINING[:4], HELD_OUT[:4], strict=True):
        assert not set(own) & set(other)


@pytest.mark.parametrize("family", [TRAINING, HELD_OUT])
def test_a_family_has_frames_of_every_kind_and_fills_every_gap(family: Family) -> None:
    assert family.frames.keys() == TARGETS.keys()
    assert len(set(frames(family))) == len(list(frames(family)))
    for example in every_example(GOOD, BAD, family):
        assert not set("{}") & set(example.text)
        assert example.text[0].isupper()
        assert example.text[-1] in ".?!" or example.text.startswith("My verdict")
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", example.text), example.text


def test_every_example_is_every_frame_with_every_adjective() -> None:
    made = list(every_example(GOOD, BAD, HELD_OUT))
    assert len(made) == 4 * len(list(frames(HELD_OUT)))
    assert made == list(every_example(GOOD, BAD, HELD_OUT))


def test_the_same_seed_gives_the_same_sentences() -> None:
    assert examples(seed=5) == examples(seed=5) != examples(seed=6)


def test_targets_are_those_of_the_kind_and_the_polarity() -> None:
    made = examples()
    assert {example.kind for example in made} == set(TARGETS)
    assert all(example.target == TARGETS[example.kind][0 if example.praise else 1] for example in made)


def test_negation_turns_the_verdict_and_not_bad_is_soft() -> None:
    kinds = ["plain", "negated", "answer no", "answer yes", "negator that does not negate"]
    made = make_examples(["good"], ["bad"], 6000, np.random.default_rng(1), kinds=kinds)
    sides = {example.text: example.target for example in made}
    assert sides["The film was good."] > 0.9 > 0.1 > sides["The film was bad."]
    assert sides["The film was not good."] < 0.2
    assert 0.7 <= sides["The film was not bad."] <= 0.8
    assert sides["Is the book bad? No."] > 0.5 > sides["Is the book bad? Yes."]
    assert sides["Nobody can deny that it was bad."] < 0.5


def test_kinds_can_be_chosen() -> None:
    made = make_examples(GOOD, BAD, 50, np.random.default_rng(1), kinds=["plain", "negated"])
    assert {example.kind for example in made} == {"plain", "negated"}


@pytest.mark.parametrize(
    ("word", "expected"), [("good", "a good"), ("awful", "an awful"), ("unique", "a unique"), ("unfunny", "an unfunny")]
)
def test_article(word: str, expected: str) -> None:
    assert with_article(word) == expected
