"""The two kinds of answer that the service writes: a JSON document and a problem document."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson
from starlette.responses import Response
from starlette.types import Scope

from service.inference.errors import PROBLEM_MEDIA_TYPE, HeedError, problem_document, status_of


def json_response(document: Any, headers: Mapping[str, str] | None = None) -> Response:
    """`document` as JSON with status 200."""
    return Response(orjson.dumps(document), media_type="application/json", headers=dict(headers or {}))


def problem_response(error: HeedError, scope: Scope) -> Response:
    """The problem document of an error, with its status and headers."""
    document = problem_document(error, instance=quote(scope["path"], safe="/:@!$&'()*+,;=~"))
    return Response(
        orjson.dumps(document),
        status_code=status_of(error).code,
        media_type=PROBLEM_MEDIA_TYPE,
        headers=error.headers,
    )
