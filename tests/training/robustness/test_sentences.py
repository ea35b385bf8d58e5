import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.robustness.sentences import FEWEST_WORDS, MOST_WORDS, asides, sample_sentences, sentence_spans


def cut(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I saw it. It was good! Was it?  Yes it was.", ["I saw it.", "It was good!", "Yes it was."]),
        ("The end came<br /><br />Then it rained", ["The end came", "Then it rained"]),
        ("One two three\nfour five six", ["One two three", "four five six"]),
        ("Mr. T. Smith met Dr. No at St. Mary's. They spoke.", ["Mr. T. Smith met Dr. No at St. Mary's."]),
        ('"This is it." He was right.', ['"This is it."', "He was right."]),
        ("It cost 3.5 dollars, e.g. that one.", ["It cost 3.5 dollars, e.g. that one."]),
        ("word " * 41 + ". A b c.", ["A b c."]),
        ("", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert cut(text) == expected


@given(st.text("aB ,.!?\"'\n<br/>’…Mr", max_size=200))
def test_spans_are_in_order_trimmed_and_of_a_bearable_length(text: str) -> None:
    last = 0
    for start, end in sentence_spans(text):
        assert last <= start < end <= len(text)
        assert text[start:end] == text[start:end].strip()
        last = end


def test_sampled_sentences_are_of_their_texts() -> None:
    texts = [f"This is {number}. That was {number} as well." for number in range(50)] + ["No."]
    sentences, of = sample_sentences(texts, 30, np.random.default_rng(1))
    assert len(set(sentences)) == len(sentences) == len(of) == 30
    assert all(sentence in texts[position] for sentence, position in zip(sentences, of, strict=True))
    assert sample_sentences(texts, 30, np.random.default_rng(1))[0] == sentences
    assert len(sample_sentences(texts, 1000, np.random.default_rng(1))[0]) == 100
    assert all(FEWEST_WORDS <= len(sentence.split()) <= MOST_WORDS for sentence in sentences)


def test_texts_without_sentences_give_none() -> None:
    assert sample_sentences(["No.", ""], 3, np.random.default_rng(1))[0] == []


def test_asides_are_what_stands_between_two_commas() -> None:
    texts = ["It is, as I said, a film, which, as I said, runs for two hours.", "So, now, we, the few of us, went."]
    assert asides(texts) == ["as I said", "the few of us"]
