"""`POST /predict`, from the request to the bytes of its answer."""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import orjson
from starlette.datastructures import State
from starlette.requests import Request
from starlette.responses import Response

from models.tokenizer import Encoding, Tokenizer
from service.http.middleware import REFUSAL, RequestFacts, facts_of
from service.http.problems import ClientGone, InvalidRequest, Offence
from service.http.requests import PredictRequest, read_json, read_predict_request
from service.inference.errors import DeadlineExceeded, NotReady
from service.inference.queue import Answer
from service.inference.registry import Registry, ServedModel
from service.predictions import describe_model, describe_prediction
from service.settings import Settings

T = TypeVar("T")

THREAD_CHARACTERS = 20_000
"""Requests with more text than this are tokenized in a thread, so that the event loop answers others meanwhile."""


async def predict(request: Request) -> Response:
    """Give each text a label, calibrated probabilities, and every token's weight and signed contribution."""
    state = request.app.state
    settings: Settings = state.settings
    registry: Registry = state.registry
    if REFUSAL in request.scope:
        raise request.scope[REFUSAL]
    document = await read_json(request, settings.max_body_bytes)
    refuse_while_draining(state)
    asked = read_predict_request(document, settings)
    served = registry.get(asked.model)
    facts = facts_of(request)
    deadline = asyncio.get_running_loop().time() + settings.deadline_seconds
    try:
        encodings, answers = await unless_client_leaves(request, _classify(served, asked, deadline, facts))
    except (TimeoutError, DeadlineExceeded):
        raise DeadlineExceeded(settings.deadline_seconds) from None
    state.metrics.count(served.bundle.card.name, encodings)
    return Response(
        orjson.dumps(_describe(served, asked, encodings, answers)),
        media_type="application/json",
        headers={"Server-Timing": facts.server_timing},
    )


def refuse_while_draining(state: State) -> None:
    """Admit nothing more once the service is stopping.

    Raises:
        NotReady: it is.
    """
    if state.draining:
        raise NotReady("The service is shutting down and takes no more requests. Send it to another instance.")


async def unless_client_leaves(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`, which is cancelled when the client leaves.

    Args:
        request: Its body must have been read.
        work: Anything that can be cancelled.

    Raises:
        ClientGone: the client closed the connection first.
    """
    working = asyncio.current_task()
    assert working is not None

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        working.cancel()

    watching = asyncio.create_task(watch())
    try:
        return await work
    except asyncio.CancelledError:
        if watching.done() and not working.uncancel():
            raise ClientGone from None
        raise
    finally:
        watching.cancel()


async def _classify(
    served: ServedModel, asked: PredictRequest, deadline: float, facts: RequestFacts
) -> tuple[list[Encoding], list[Answer]]:
    """Tokenize and classify the texts of a request, all of them or none.

    Raises:
        InvalidRequest: a text has no token.
        TimeoutError: the deadline passed while a long text was tokenized.
        Overloaded, DeadlineExceeded, NotReady, PredictionFailed: from the batcher.
    """
    texts, card, tokenizer = asked.all_texts, served.bundle.card, served.bundle.tokenizer
    started = time.perf_counter()
    if sum(map(len, texts)) > THREAD_CHARACTERS:
        async with asyncio.timeout_at(deadline):
            encodings = await asyncio.to_thread(_encode_all, tokenizer, texts, card.max_tokens)
    else:
        encodings = _encode_all(tokenizer, texts, card.max_tokens)
    facts.stages["tokenize"] = time.perf_counter() - started
    offences = [
        Offence(pointer, "Expected a text with at least one word. Received a text with none.")
        for pointer, encoding in zip(asked.text_pointers, encodings, strict=True)
        if len(encoding.ids) == 0
    ]
    if offences:
        raise InvalidRequest(offences)
    answers = await served.batcher.submit_many(encodings, deadline=deadline)
    facts.stages["queue"] = max(answer.queue_seconds for answer in answers)
    facts.stages["compute"] = max(answer.compute_seconds for answer in answers)
    facts.model = card.name
    facts.texts = len(texts)
    facts.tokens = sum(len(encoding.ids) for encoding in encodings)
    return encodings, answers


def _encode_all(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int) -> list[Encoding]:
    return [tokenizer.encode(text, max_tokens) for text in texts]


def _describe(
    served: ServedModel, asked: PredictRequest, encodings: Sequence[Encoding], answers: Sequence[Answer]
) -> dict[str, Any]:
    """Return the response, of the shape `schemas.PredictResponse`."""
    return {
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
            for text, encoding, answer in zip(asked.all_texts, encodings, answers, strict=True)
        ],
    }
