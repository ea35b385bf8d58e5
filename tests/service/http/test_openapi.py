"""The OpenAPI document: valid, whole, and true to the settings; what is no prediction route is described as well."""

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from service.http.app import create_app
from service.http.openapi import PREDICTING
from service.http.problems import STATUSES
from service.http.requests import PredictRequest
from service.settings import Settings
from tests.service.running import ROOT


@pytest.fixture(scope="module")
def document(settings: Settings) -> dict[str, Any]:
    return create_app(settings).openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_the_version_is_the_projects(document: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert document["info"]["version"] == project["version"]


def test_every_route_is_described_and_says_what_it_is_for(document: dict[str, Any]) -> None:
    described = dict(operations(document))
    assert set(described) >= {
        "POST /predict",
        "GET /models",
        "GET /models/{name}",
        "GET /metrics",
        "GET /livez",
        "GET /readyz",
        "GET /startupz",
    }
    assert all(operation.get("description") for operation in described.values())


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(part: Any) -> Iterator[str]:
        if isinstance(part, dict):
            yield from ([part["$ref"]] if isinstance(part.get("$ref"), str) else [])
            part = list(part.values())
        if isinstance(part, list):
            for each in part:
                yield from references(each)

    found = set(references(document))
    assert found
    for reference in found:
        place: Any = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def test_every_schema_is_one_and_every_field_has_an_example(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        Draft202012Validator.check_schema(schema)
        if name in ("BundleCard", "WeightPlace"):  # as they are on disk
            continue
        for field, facts in schema.get("properties", {}).items():
            assert facts.get("description"), f"{name}.{field}"
            refers = "$ref" in facts or "$ref" in facts.get("items", {})
            assert facts.get("examples") or refers, f"{name}.{field}"


def test_examples_are_examples_of_their_fields(document: dict[str, Any]) -> None:
    for schema in document["components"]["schemas"].values():
        for facts in schema.get("properties", {}).values():
            validator = Draft202012Validator({**facts, "components": document["components"]})
            for example in facts.get("examples", []):
                validator.validate(example)
    whole = document["components"]["schemas"]["PredictRequest"]
    for example in whole["examples"]:
        Draft202012Validator(whole).validate(example)


def test_a_prediction_route_tells_of_every_failure_it_can_have(document: dict[str, Any]) -> None:
    responses = document["paths"]["/predict"]["post"]["responses"]
    assert set(responses) == {"200"} | {str(STATUSES[kind].code) for kind in PREDICTING}
    for status, response in responses.items():
        assert response["description"]
        assert "X-Request-Id" in response["headers"]
        if status != "200":
            assert list(response["content"]) == ["application/problem+json"]
    assert "Retry-After" in responses["429"]["headers"]
    assert "Retry-After" in responses["503"]["headers"]
    assert "WWW-Authenticate" in responses["401"]["headers"]


def test_both_ways_to_bring_a_key_are_offered_where_one_is_needed(document: dict[str, Any]) -> None:
    assert set(document["components"]["securitySchemes"]) == {"bearer", "header"}
    for label, operation in operations(document):
        assert bool(operation.get("security")) is not label.endswith("z"), label


@pytest.mark.parametrize(
    ("request_body", "valid"),
    [
        ({"text": "a"}, True),
        ({"texts": ["a"], "text": None, "model": None, "top_tokens": None}, True),
        ({}, False),
        ({"text": None}, False),
        ({"text": "a", "texts": ["a"]}, False),
        ({"texts": ["a"] * 3}, False),
        ({"text": "a" * 31}, False),
        ({"text": "a", "b": 1}, False),
    ],
)
def test_the_schema_agrees_with_what_is_read(settings: Settings, request_body: Any, valid: bool) -> None:
    app = create_app(settings.model_copy(update={"max_texts": 2, "max_text_characters": 30}))
    schema = app.openapi()["components"]["schemas"][PredictRequest.__name__]
    assert Draft202012Validator(schema).is_valid(request_body) is valid
