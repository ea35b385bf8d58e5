"""The tokens of an answer written in C beside the dictionaries that they are short for."""

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import native
from models.bundle.parts import BundleParts
from models.bundle.store import load_bundle
from models.tokenizer import Tokenizer
from service.inference.engine import Result
from service.native_answers import write_tokens
from service.offsets import OFFSET_ENCODINGS
from service.predictions import describe_prediction

TOKENIZER = Tokenizer(["a", "it's", "é"])
TEXTS = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=40),
    st.lists(st.sampled_from([*'aé" ', "it's", "\\", "\x00", "\x1f", "\x7f", "\b", "\f", "😀", "中", "<br/>"])).map(
        "".join
    ),
)
SIZES = st.sampled_from([1e-12, 1e-6, 1e-3, 1.0, 1e4])


@pytest.fixture(scope="module")
def bundle(models_dir: Any, compiled: None) -> BundleParts:
    return load_bundle(models_dir / "default")


@settings(max_examples=400, deadline=None)
@given(
    text=TEXTS,
    seed=st.integers(0, 99),
    power=st.sampled_from([1, 8, 60]),
    size=SIZES,
    exact=st.booleans(),
    top=st.sampled_from([None, 1, 3]),
    offsets=st.sampled_from(OFFSET_ENCODINGS),
)
def test_it_says_what_the_dictionaries_say(
    bundle: BundleParts, text: str, seed: int, power: int, size: float, exact: bool, top: int | None, offsets: Any
) -> None:
    encoding = TOKENIZER.encode(text, 20)
    tokens = len(encoding.ids)
    generator = np.random.default_rng(seed)
    weights = (generator.random(tokens) ** power).astype(np.float32)  # down to zero
    contributions = (size * generator.normal(size=tokens)).astype(np.float32) if exact else None
    result = Result(np.zeros(2, np.float32), weights, contributions)
    said, written = (
        orjson.loads(
            orjson.dumps(
                describe_prediction(
                    bundle, text, encoding, result, top_tokens=top, offset_encoding=offsets, for_json=for_json
                )
            )
        )
        for for_json in (False, True)
    )
    for one, other in zip(said["tokens"], written["tokens"], strict=True):
        # Below 1e-17 the scale of the dictionaries' rounding is no exact power of ten.
        assert one.pop("weight") == pytest.approx(other.pop("weight"), rel=1e-15, abs=0)
    assert said == written


def test_numbers_are_as_short_as_they_can_be(compiled: None) -> None:
    spans = (np.arange(6, dtype=np.int32), np.arange(1, 7, dtype=np.int32))
    written = write_tokens(
        b"abcdef",
        places=spans,
        shown=spans,
        weights=np.array([1, 0.5, 0.0001234567, 1.5e-7, 0, 0.99999994], np.float32),
        weight_digits=6,
        contributions=np.array([2, -0.25, 1e-8, -1e-9, 0, 123456.703125], np.float32),
        temperature=1,
        contribution_decimals=8,
        ids=np.array([1, 2, 3, 4, 5, 6], np.int32),
    )
    assert written is not None
    tokens = json.loads(written, parse_float=str)
    assert [token["weight"] for token in tokens] == ["1.0", "0.5", "0.000123457", "1.5e-7", "0.0", "1.0"]
    assert [token["contribution"] for token in tokens] == ["2.0", "-0.25", "1e-8", "0.0", "0.0", "123456.703125"]
    assert [token["known"] for token in tokens] == [False, True, True, True, True, True]


def written_tokens(text: str, spans: list[tuple[int, int]], shown: list[tuple[int, int]]) -> list[dict[str, Any]]:
    """Tokens of these bytes, with the places that are shown of them."""
    (starts, ends), (starts_shown, ends_shown) = (np.array(each, np.int32).T for each in (spans, shown))
    written = write_tokens(
        text.encode(),
        places=(starts, ends),
        shown=(starts_shown, ends_shown),
        weights=np.ones(len(spans), np.float32),
        weight_digits=6,
        contributions=None,
        temperature=1,
        contribution_decimals=8,
        ids=np.ones(len(spans), np.int32),
    )
    assert written is not None
    tokens: list[dict[str, Any]] = json.loads(written)
    return tokens


# C copies eight bytes at a time where none of them is written otherwise in JSON, and where as many may be read.
@given(
    before=st.integers(0, 17),
    special=st.sampled_from([*'"\\\0\x1f \x7f\x80é中😀!#[]']),
    after=st.integers(0, 17),
    behind=st.integers(0, 9),
)
def test_a_text_of_any_length_is_written(compiled: None, before: int, special: str, after: int, behind: int) -> None:
    token, rest = "a" * before + special + "z" * after, "'" * behind
    size = len(token.encode())
    spans = [(0, size), (size, size + behind)]
    assert [each["text"] for each in written_tokens(token + rest, spans, spans)] == [token, rest]


@pytest.mark.parametrize("place", [0, 9, 10, 99, 100, 999, 1000, 9999, 10_000, 123_456, 2_000_000_007])
def test_a_place_of_any_size_is_written(compiled: None, place: int) -> None:
    [token] = written_tokens("a", [(0, 1)], [(place, place)])
    assert (token["start"], token["end"]) == (place, place)


@pytest.mark.parametrize(("weight", "share"), [(1, 1e30), (1e30, 1), (np.inf, 1), (np.nan, 1), (-1, 1)])
def test_what_it_has_no_way_to_write_is_left_to_the_dictionaries(
    bundle: BundleParts, weight: float, share: float
) -> None:
    encoding = TOKENIZER.encode("a a", 20)
    weights, shares = (np.array([0.5, number], np.float32) for number in (weight, share))
    result = Result(np.zeros(2, np.float32), weights, shares)
    with np.errstate(all="ignore"):
        tokens = describe_prediction(bundle, "a a", encoding, result, for_json=True)["tokens"]
    assert isinstance(tokens, list)
    assert tokens[1]["contribution"] == pytest.approx(share / bundle.card.temperature)


def test_without_what_is_compiled_there_are_dictionaries(bundle: BundleParts) -> None:
    encoding = TOKENIZER.encode("a", 20)
    result = Result(np.zeros(2, np.float32), np.ones(1, np.float32), None)
    native.use(False)
    try:
        assert isinstance(describe_prediction(bundle, "a", encoding, result, for_json=True)["tokens"], list)
    finally:
        native.use(True)
