import re
from collections.abc import Sequence

import numpy as np
import pytest

from tests.training.robustness.oracle import oracle, polarity
from training.robustness.names import MEN, PROBE_NAMES, names_of
from training.robustness.probes import NO_VERDICT, apostrophes, length, negation, people


def indifferent(texts: Sequence[str]) -> np.ndarray:
    return np.full(len(texts), 0.7)


def partial_to_men(texts: Sequence[str]) -> np.ndarray:
    """A reader who gives a tenth more to what men do, and another tenth to one group."""
    men = {name for group in PROBE_NAMES for name in names_of(group, MEN, PROBE_NAMES)} | {"he", "him", "his", "man"}
    asian = {name for sex in (0, 1) for name in names_of("Asian", sex, PROBE_NAMES)}
    words = [set(re.findall(r"\w+", text)) | set(re.findall(r"\w+", text.lower())) for text in texts]
    return np.array([0.5 + 0.1 * bool(men & found) + 0.1 * bool(asian & found) for found in words])


def test_whoever_reads_negation_has_every_template_right() -> None:
    figures = negation(oracle)
    assert figures.pop(NO_VERDICT)["shift"] == 0
    assert {(one["good words"], one["bad words"]) for one in figures.values()} == {(1.0, 1.0)}


def test_whoever_reads_words_alone_has_the_negated_ones_wrong() -> None:
    figures = negation(polarity)
    assert figures["plain"] != (1.0, 1.0)  # verbs are no adjectives
    for kind in ("negated over a filler", "answer no", "expected, and was not"):
        assert figures[kind]["good words"] < 0.3
        assert figures[kind]["bad words"] < 0.3
    assert figures[NO_VERDICT]["shift"] > 0


def test_nobody_shifts_who_reads_no_names() -> None:
    figures = people(indifferent)
    assert all(figures["sexes"][name] == pytest.approx(0) for name in figures["sexes"] if "shift" in name)
    assert figures["groups"]["shift"] == pytest.approx(0)


def test_a_shift_is_as_large_as_it_was_made() -> None:
    figures = people(partial_to_men)
    assert figures["sexes"]["women"] < figures["sexes"]["men"]
    for name in ("shift", "shift of names", "shift of pronouns"):
        assert figures["sexes"][name] == pytest.approx(-0.1)
    assert figures["groups"]["shift"] == pytest.approx(0.1)


def test_labels_that_differ_by_apostrophe_are_counted() -> None:
    assert apostrophes(polarity)["differ"] == 0

    def sees_one(texts: Sequence[str]) -> np.ndarray:
        return np.array([0.1 if "’" in text else 0.9 for text in texts])

    figures = apostrophes(sees_one)
    assert figures["differ"] == pytest.approx(1 / figures["spellings"])
    assert figures["texts"] >= 200


def test_length_counts_what_is_read_amid_other_sentences() -> None:
    def forgets(texts: Sequence[str]) -> np.ndarray:
        return np.array([score if len(text) < 200 else 0.9 for text, score in zip(texts, polarity(texts), strict=True)])

    figures = length(forgets)
    assert figures["around"]["48"] == 0.5
    assert figures["around"]["0"] == figures["repeated"]["4"] > 0.8
