import re
from collections.abc import Iterator

import numpy as np
import pytest

from training.robustness.frames import TARGETS, Family, variants
from training.robustness.held_out import HELD_OUT
from training.robustness.taught import TRAINING
from training.robustness.templates import Example, every_example, make_examples, with_article

GOOD, BAD = ("good", "excellent"), ("bad", "awful")


def examples(family: Family = TRAINING, number: int = 600, seed: int = 1) -> list[Example]:
    return make_examples(GOOD, BAD, number, np.random.default_rng(seed), family=family)


def spelled_out(family: Family) -> Family:
    """The family with every alternative as a frame of its own."""
    return family._replace(
        frames={
            kind: tuple(variant for frame in frames for variant in variants(frame))
            for kind, frames in family.frames.items()
        },
    )


def frames(family: Family) -> Iterator[str]:
    return (frame for kind in spelled_out(family).frames.values() for frame in kind)


def runs(frame: str, length: int = 5) -> set[tuple[str, ...]]:
    """Every run of so many tokens; a gap is one."""
    tokens = re.findall(r"\{\w\}|[\w']+|[^\w\s]", re.sub(r"(?:,| \(| -) ?\{f\}(?:,|\)| -)", " {f}", frame.lower()))
    return set(zip(*(tokens[start:] for start in range(length)), strict=False))


def test_the_families_share_no_wording() -> None:
    taught = set().union(*map(runs, frames(TRAINING)))
    assert not {frame: shared for frame in frames(HELD_OUT) if (shared := runs(frame) & taught)}
    around = {variant for context in TRAINING.contexts for variant in variants(context.format(x="{w}"))}
    assert not set().union(*map(runs, around)) & set().union(*map(runs, frames(HELD_OUT)))
    assert not set(frames(TRAINING)) & set(frames(HELD_OUT))
    for own, other in zip(TRAINING[:4], HELD_OUT[:4], strict=True):
        assert not set(own) & set(other)


@pytest.mark.parametrize("family", [TRAINING, HELD_OUT])
def test_a_family_has_frames_of_every_kind_and_fills_every_gap(family: Family) -> None:
    assert family.frames.keys() == TARGETS.keys()
    assert len(set(frames(family))) == len(list(frames(family)))
    for example in every_example(GOOD, BAD, spelled_out(family)):
        assert not set("{}[]|<>") & set(example.text)
        assert example.text[0].isupper()
        assert example.text[-1] in ".?!" or example.text.startswith("My verdict")
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", example.text), example.text


def test_a_text_has_one_target() -> None:
    targets: dict[str, float] = {}
    for example in every_example(GOOD, BAD, spelled_out(TRAINING._replace(subjects=("film",)))):
        assert targets.setdefault(example.text, example.target) == example.target, example.text


@pytest.mark.parametrize(
    ("turned", "kept"),
    [
        ("negated", "plain"),
        ("negated over a filler", "plain"),
        ("negated", "negator that does not negate"),
        ("expected, and was not", "expected, and was"),
        ("answer no", "answer yes"),
        ("once, but not now", "once, and still"),
    ],
)
def test_a_construction_is_as_varied_as_its_counterpart(turned: str, kept: str) -> None:
    numbers = [len(TRAINING.frames[kind]) for kind in (turned, kept)]
    assert max(numbers) <= 1.5 * min(numbers)


def test_variants_are_every_choice_of_alternatives() -> None:
    assert variants("It [is|was]{f} [not |]{w}.") == (
        "It is{f} not {w}.",
        "It is{f} {w}.",
        "It was{f} not {w}.",
        "It was{f} {w}.",
    )
    assert variants("It is {w}.") == ("It is {w}.",)


def test_contexts_stand_around_some_of_the_sentences() -> None:
    family = HELD_OUT._replace(contexts=("{x}", "[One|Two]. {x}", "{x} Three."))
    texts = [example.text for example in examples(family)]
    assert {(text[:5] in ("One. ", "Two. "), text.endswith(" Three.")) for text in texts} == {
        (False, False),
        (True, False),
        (False, True),
    }


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
    family = spelled_out(TRAINING._replace(subjects=("film",)))
    sides = {example.text: example.target for example in every_example(["good"], ["bad"], family)}
    assert sides["The film was good."] > 0.9 > 0.1 > sides["The film was bad."]
    assert sides["The film was not good."] < 0.2
    assert 0.75 <= sides["The film was not bad."] <= 0.85
    assert sides["Is it bad? No."] > 0.5 > sides["Is it bad? Yes."]
    assert sides["Nobody can deny that it was bad."] < 0.5


def test_kinds_can_be_chosen() -> None:
    made = make_examples(GOOD, BAD, 50, np.random.default_rng(1), kinds=["plain", "negated"])
    assert {example.kind for example in made} == {"plain", "negated"}


@pytest.mark.parametrize(
    ("word", "expected"), [("good", "a good"), ("awful", "an awful"), ("unique", "a unique"), ("unfunny", "an unfunny")]
)
def test_article(word: str, expected: str) -> None:
    assert with_article(word) == expected
