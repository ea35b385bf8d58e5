"""The request shape: what is read, what is refused, and where each refusal points."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.http.problems import InvalidRequest, Offence
from service.http.requests import MAX_OFFENCES, PredictRequest, read_predict_request
from service.http.schemas import PredictResponse, Problem
from service.settings import Settings

LIMITS = Settings(max_texts=3, max_text_characters=20)


def offences(document: Any) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        read_predict_request(document, LIMITS)
    return {offence.pointer: offence.detail for offence in caught.value.offences}


def test_one_text_or_several() -> None:
    one = read_predict_request({"text": "Fine."}, LIMITS)
    assert (one.all_texts, one.text_pointers) == (["Fine."], ["/text"])
    several = read_predict_request({"texts": ["Fine.", "Bad."], "text": None, "top_tokens": 2}, LIMITS)
    assert (several.all_texts, several.text_pointers) == (["Fine.", "Bad."], ["/texts/0", "/texts/1"])


@pytest.mark.parametrize(
    ("document", "pointer", "detail"),
    [
        ([], "", "Expected a JSON object. Received an array of 0."),
        ("text", "", "Expected a JSON object. Received the string 'text'."),
        ({}, "", "Expected exactly one of 'text' and 'texts'. Received neither."),
        ({"text": None}, "", "Expected exactly one of 'text' and 'texts'. Received neither."),
        ({"text": "a", "texts": ["b"]}, "", "Expected exactly one of 'text' and 'texts'. Received both."),
        ({"text": 5}, "/text", "Expected a string. Received the number 5."),
        ({"texts": "a"}, "/texts", "Expected an array. Received the string 'a'."),
        ({"texts": []}, "/texts", "Expected 1 to 3 texts in one request. Received 0."),
        ({"texts": ["a"] * 4}, "/texts", "Expected 1 to 3 texts in one request. Received 4."),
        ({"texts": ["a", None]}, "/texts/1", "Expected a string. Received null."),
        ({"texts": ["a", " \n\u3000"]}, "/texts/1", "Expected a text with at least one word. Received a blank text."),
        ({"text": ""}, "/text", "Expected a text with at least one word. Received a blank text."),
        ({"text": "a" * 21}, "/text", "Expected at most 20 characters. Received 21."),
        ({"text": "a", "attention": 1}, "/attention", "Expected true or false. Received the number 1."),
        ({"text": "a", "attention": "yes"}, "/attention", "Expected true or false. Received the string 'yes'."),
        (
            {"text": "a", "top_tokens": 0},
            "/top_tokens",
            "Expected a number greater than or equal to 1. Received the number 0.",
        ),
        ({"text": "a", "top_tokens": True}, "/top_tokens", "Expected an integer. Received true."),
        ({"text": "a", "top_tokens": 1.0}, "/top_tokens", "Expected an integer. Received the number 1.0."),
        ({"text": "a", "model": {}}, "/model", "Expected a string. Received an object."),
        (
            {"text": "a", "model": "m" * 201},
            "/model",
            "Expected at most 200 characters. Received a string of 201 characters.",
        ),
        (
            {"text": "a", "offset_encoding": "bytes"},
            "/offset_encoding",
            "Expected 'codepoint', 'utf16' or 'utf8'. Received the string 'bytes'.",
        ),
        (
            {"text": "a", "a/b~c": 1},
            "/a~1b~0c",
            "Expected no field of this name; the fields are 'text', 'texts', 'model', 'attention', 'top_tokens', "
            "'offset_encoding'.",
        ),
    ],
)
def test_an_offence_says_where_what_was_expected_and_received(document: Any, pointer: str, detail: str) -> None:
    assert offences(document) == {pointer: detail}


def test_every_offence_is_reported_at_once() -> None:
    found = offences({"texts": ["a", "", 3], "top_tokens": -1, "attension": True})
    assert set(found) == {"/texts/1", "/texts/2", "/top_tokens", "/attension"}
    assert set(offences({"txt": "a"})) == {"", "/txt"}


def test_thousands_of_offences_are_not_all_listed() -> None:
    assert len(offences({"text": "a"} | {f"field{index}": index for index in range(5000)})) == MAX_OFFENCES


def test_limits_count_code_points() -> None:
    assert read_predict_request({"text": "🎬" * 20}, LIMITS).all_texts == ["🎬" * 20]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=12,
)
FIELDS = st.sampled_from([*PredictRequest.model_fields, "other"])


@given(document=JSON | st.dictionaries(FIELDS, JSON, max_size=6))
def test_any_document_is_a_request_or_an_invalid_request(document: Any) -> None:
    found: Sequence[Offence] = ()
    try:
        request = read_predict_request(document, LIMITS)
    except InvalidRequest as error:
        found = error.offences
    assert found or 1 <= len(request.all_texts) <= 3
    assert all(offence.detail.startswith("Expected ") for offence in found)


@pytest.mark.parametrize("shape", [PredictRequest, PredictResponse, Problem])
def test_every_field_has_a_description(shape: Any) -> None:
    schema = shape.model_json_schema()
    for name, part in {shape.__name__: schema, **schema.get("$defs", {})}.items():
        for field, facts in part.get("properties", {}).items():
            assert facts.get("description"), f"{name}.{field}"
