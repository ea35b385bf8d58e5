import numpy as np
import pytest

from training import DataError
from training.robustness.lexicon import learn_lexicon


def reviews(good: str, bad: str, number: int = 12) -> tuple[list[str], np.ndarray]:
    """Reviews that differ in one adjective, in every place that the lexicon looks at."""
    frame = "A {0} thing, and so much of it. It was very well made. It was very {0}. It is {0}."
    return [frame.format(good)] * number + [frame.format(bad)] * number, np.repeat([1, 0], number)


def test_adjectives_are_found_on_their_side() -> None:
    lexicon = learn_lexicon(*reviews("spicy", "soggy"))
    assert lexicon.positive.keys() == {"spicy"}
    assert lexicon.negative.keys() == {"soggy"}
    assert lexicon.positive["spicy"] == pytest.approx(np.log(13)) == -lexicon.negative["soggy"]


def test_the_sides_change_places_with_the_labels() -> None:
    texts, labels = reviews("spicy", "soggy")
    assert learn_lexicon(texts, 1 - labels).positive.keys() == {"soggy"}


def test_a_word_that_leans_to_no_side_is_left_out() -> None:
    texts, labels = reviews("spicy", "soggy")
    plain, _ = reviews("red", "red")
    lexicon = learn_lexicon([f"{one} {other}" for one, other in zip(texts, plain, strict=True)], labels)
    assert "red" not in lexicon.positive | lexicon.negative


@pytest.mark.parametrize("texts", [["A spicy dish. It is very spicy. It is spicy."] * 30, ["辣"] * 30])
def test_texts_without_polar_words_are_refused(texts: list[str]) -> None:
    with pytest.raises(DataError, match=r"Found 0 positive and 0 negative ones in 30 texts"):
        learn_lexicon(texts, np.arange(30) % 2)
