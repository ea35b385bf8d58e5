"""`POST /predict` from the request to the bytes of its answer."""

import asyncio
from typing import Any

from starlette.datastructures import State
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.http.middleware import KeyCheck
from service.http.observe import facts_of
from service.http.pipeline import classify, unless_client_leaves
from service.http.requests import read_json, read_predict_request
from service.http.responses import json_response, problem_response
from service.http.schemas import Limits
from service.inference.errors import ClientGone, HeedError, NotReady
from service.inference.registry import Registry, ServedModel
from service.predictions import describe_model, describe_prediction
from service.settings import Settings

PREDICT_PATH = "/predict"


class ShortRoad:
    """ASGI app: `predict` without the framework's own layers, which together cost more than all else but the model."""

    def __init__(self, settings: Settings) -> None:
        self._check_key = KeyCheck(settings.api_keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        request = Request(scope, receive)
        facts_of(request).route = PREDICT_PATH
        try:
            self._check_key(scope)
            response = await predict(request)
        except HeedError as error:
            response = problem_response(error, scope)
        except ClientDisconnect:
            response = problem_response(ClientGone(), scope)
        await response(scope, receive, send)


async def predict(request: Request) -> Response:
    """Give each text a label, calibrated probabilities, and every token's weight and signed contribution."""
    state = request.app.state
    settings: Settings = state.settings
    deadline = asyncio.get_running_loop().time() + settings.deadline_seconds
    asked = read_predict_request(await read_json(request), Limits(settings.max_texts, settings.max_text_characters))
    served = _served_model(state, asked.model)
    state.registry.admission.refuse_if_full()
    facts = facts_of(request)
    texts = asked.all_texts
    work = classify(served, texts, asked.text_pointers, deadline=deadline, facts=facts)
    classified = await unless_client_leaves(request, work)
    state.metrics.count(served.bundle.card.name, classified.encodings)
    document: dict[str, Any] = {
        "model": describe_model(served.bundle.card),
        "offset_encoding": asked.offset_encoding,
        "predictions": [
            describe_prediction(
                served.bundle,
                text,
                encoding,
                answer.result,
                attention=asked.attention,
                top_tokens=asked.top_tokens,
                offset_encoding=asked.offset_encoding,
                for_json=True,
            )
            for text, encoding, answer in zip(texts, classified.encodings, classified.answers, strict=True)
        ],
    }
    return json_response(document, headers={"Server-Timing": facts.server_timing})


def refuse_while_draining(state: State) -> None:
    """Let nothing more in once the service is stopping.

    Raises:
        NotReady: it is.
    """
    if state.draining:
        raise NotReady("The service is shutting down and takes no more requests. Send it to another instance.")


def _served_model(state: State, name: str | None) -> ServedModel:
    refuse_while_draining(state)
    registry: Registry = state.registry
    return registry.get(name)
