"""Complete the OpenAPI document that FastAPI makes: request bodies, the failures of each route, the limits set."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from service.http.problems import (
    PROBLEM_MEDIA_TYPE,
    BodyTooLarge,
    InternalError,
    InvalidRequest,
    MalformedBody,
    RequestTimeout,
    Unauthorised,
    UnknownEncoding,
    WrongMediaType,
    problem_type,
    status_of,
)
from service.http.requests import PredictRequest
from service.http.schemas import Problem
from service.inference.errors import DeadlineExceeded, HeedError, NotReady, Overloaded, PredictionFailed, UnknownModel
from service.settings import Settings

PREDICTING = (
    MalformedBody,
    Unauthorised,
    UnknownModel,
    RequestTimeout,
    BodyTooLarge,
    WrongMediaType,
    UnknownEncoding,
    InvalidRequest,
    Overloaded,
    InternalError,
    NotReady,
    PredictionFailed,
    DeadlineExceeded,
)
"""The failures of a route that takes a body and answers with predictions."""

_REF = "#/components/schemas/{model}"
_HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-Id": {
        "description": "The request's id: the one it brought, or a new one.",
        "schema": {"type": "string"},
        "example": "b3c1f0d2",
    },
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}, "example": 1},
    "WWW-Authenticate": {"description": "How to bring a key.", "schema": {"type": "string"}, "example": "Bearer"},
    "Server-Timing": {
        "description": "Milliseconds spent in each stage.",
        "schema": {"type": "string"},
        "example": "tokenize;dur=0.21, queue;dur=0.05, compute;dur=1.90",
    },
}


def success(description: str, *headers: str) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` entry for status 200."""
    return {200: {"description": description, "headers": _headers("X-Request-Id", *headers)}}


def problems(*kinds: type[HeedError]) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` entries for these failures, one per status."""
    entries: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        status = status_of(kind)
        example = {"type": problem_type(kind), "title": status.title, "status": status.code}
        entry = entries.setdefault(
            status.code,
            {
                "description": "",
                "headers": _headers("X-Request-Id"),
                "content": {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}, "examples": {}}},
            },
        )
        entry["description"] = " ".join(filter(None, [entry["description"], f"{status.title}."]))
        if status.code in (429, 503):
            entry["headers"] |= _headers("Retry-After")
        if status.code == 401:
            entry["headers"] |= _headers("WWW-Authenticate")
        entry["content"][PROBLEM_MEDIA_TYPE]["examples"][kind.__name__] = {
            "summary": status.title,
            "value": example | {"detail": (kind.__doc__ or "").splitlines()[0], "instance": "/predict", "errors": []},
        }
    return entries


def json_body(shape: type[BaseModel]) -> dict[str, Any]:
    """Return the `openapi_extra` of a route that reads a body of this shape."""
    schema = {"$ref": _REF.format(model=shape.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def path_parameter(name: str, description: str, example: str) -> dict[str, Any]:
    """Return the `openapi_extra` of a route with one string in its path."""
    parameter = {"name": name, "in": "path", "required": True, "description": description, "example": example}
    return {"parameters": [parameter | {"schema": {"type": "string"}}]}


def describe(app: FastAPI, settings: Settings) -> dict[str, Any]:
    """Return the OpenAPI document of `app`."""
    document = get_openapi(
        title=app.title, version=app.version, summary=app.summary, description=app.description, routes=app.routes
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for shape in (PredictRequest, Problem):
        schema = shape.model_json_schema(ref_template=_REF)
        schemas.update(schema.pop("$defs", {}))
        schemas[shape.__name__] = schema
    _set_limits(schemas["PredictRequest"], settings)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return document


def _set_limits(schema: dict[str, Any], settings: Settings) -> None:
    """Write the limits of these settings into the schema, which does not know them."""
    text, texts = (schema["properties"][name]["anyOf"][0] for name in ("text", "texts"))
    for string in (text, texts["items"]):
        string |= {"minLength": 1, "maxLength": settings.max_text_characters}
    texts |= {"minItems": 1, "maxItems": settings.max_texts}


def _headers(*names: str) -> dict[str, Any]:
    return {name: _HEADERS[name] for name in names}
